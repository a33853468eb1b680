// Ranked labels, with the models side by side.

import { ask, curl, showProgress } from "./api.js";
import { commands, el, say, section } from "./dom.js";
import { list, percent, sentence } from "./numbers.js";
import { swatch } from "./looks.js";
import { problemBox } from "./problem.js";

const { root, finding, body, footer, clear } = section("predictions");

/** Classifies the photograph with every model. Throws the problem if no model answers. */
export async function showPredictions(photograph, models, signal) {
  const request = (model) => ["predict", { query: [["model", model.name]], images: [photograph] }];
  const work = Promise.allSettled(models.map((model) => ask(...withSignal(request(model), signal))));
  const results = await showProgress(root, work);
  if (signal.aborted) return;
  if (results.every(({ status }) => status === "rejected")) {
    clear();
    throw results[0].reason;
  }
  body.replaceChildren(...results.map((result, at) => column(models[at], result)));
  const best = results.map(({ value }) => value?.answer.predictions[0].labels[0]);
  finding.textContent = sentence(summary(models, best));
  say(models.map((model, at) => best[at] && `${model.name}: ${best[at].label}, ${percent(best[at].probability)}.`).join(" "));
  footer.replaceChildren(commands(models.map((model) => curl(...request(model)))));
}


const withSignal = ([path, options], signal) => [path, { ...options, signal }];

function summary(models, best) {
  const words = [...new Set(best.filter(Boolean).map(({ label }) => label))];
  if (models.length === 1) return `${models[0].name} sees ${article(words[0])}`;
  if (words.length === 1) return `${models.length === 2 ? "Both" : `All ${models.length}`} models see ${article(words[0])}`;
  const camps = words.map((word) => {
    const names = models.filter((_, at) => best[at]?.label === word).map(({ name }) => name);
    return `${list(names)} ${names.length === 1 ? "sees" : "see"} ${article(word)}`;
  });
  return `The models disagree: ${camps.join("; ")}`;
}

const article = (word) => `${/^[aeiou]/i.test(word) ? "an" : "a"} ${word}`;

function column(model, { value, reason }) {
  const title = el("h3", { class: "model-title" }, swatch(model), model.name);
  if (reason) return el("article", { "data-model": model.name }, title, problemBox(reason));
  title.append(el("span", { class: "muted", title: "from sending the photograph to having the answer" }, `${Math.max(1, Math.round(value.milliseconds))} ms`));
  return el(
    "article",
    { "data-model": model.name },
    title,
    el(
      "ol",
      { class: "ranks", "aria-label": `Labels by ${model.name}` },
      value.answer.predictions[0].labels.map((entry) => rank(entry, model)),
    ),
  );
}

function rank({ label, probability }, model) {
  const bar = el("i");
  bar.style.width = `${Math.max(0.4, Number(probability) * 100)}%`;
  bar.style.background = model.colour;
  return el(
    "li",
    {},
    el("div", { class: "rank" }, el("span", {}, label), el("span", {}, percent(probability))),
    el("div", { class: "bar", "aria-hidden": "true" }, bar),
  );
}
