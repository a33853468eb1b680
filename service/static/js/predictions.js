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
  const views = results.map(({ value }) => value && view(value.answer.predictions[0]));
  finding.textContent = sentence(summary(models, views));
  say(models.map((model, at) => views[at] && `${model.name}: ${views[at].said}.`).join(" "));
  footer.replaceChildren(commands(models.map((model) => curl(...request(model)))));
}


const withSignal = ([path, options], signal) => [path, { ...options, signal }];

/** Tells what a model sees: its best label or, where labels are independent, all that are above one half. */
function view({ labels: [best], predicted }) {
  if (!predicted) return { seen: article(best.label), said: `${best.label}, ${percent(best.probability)}` };
  const seen = predicted.length ? list(predicted.map(article)) : "none of the labels";
  return { seen, said: seen };
}

function summary(models, views) {
  const sights = [...new Set(views.filter(Boolean).map(({ seen }) => seen))];
  if (models.length === 1) return `${models[0].name} sees ${sights[0]}`;
  if (sights.length === 1) return `${models.length === 2 ? "Both" : `All ${models.length}`} models see ${sights[0]}`;
  const camps = sights.map((sight) => {
    const names = models.filter((_, at) => views[at]?.seen === sight).map(({ name }) => name);
    return `${list(names)} ${names.length === 1 ? "sees" : "see"} ${sight}`;
  });
  return `The models disagree: ${camps.join("; ")}`;
}

/** Puts a word before a label: an article, or "class" where classes are called by number. */
const article = (label) => `${/^\d+$/.test(label) ? "class" : /^[aeiou]/i.test(label) ? "an" : "a"} ${label}`;

function column(model, { value, reason }) {
  const title = el("h3", { class: "model-title" }, swatch(model), model.name);
  if (reason) return el("article", { "data-model": model.name }, title, problemBox(reason));
  title.append(el("span", { class: "muted", title: "from sending the photograph to having the answer" }, `${Math.max(1, Math.round(value.milliseconds))} ms`));
  const { predictions: [{ labels, predicted }], quantized } = value.answer;
  return el(
    "article",
    { "data-model": model.name },
    title,
    el(
      "ol",
      { class: "ranks", "aria-label": `Labels by ${model.name}` },
      labels.map((entry) => rank(entry, model, predicted?.includes(entry.label))),
    ),
    quantized ? el("p", { class: "small muted" }, sentence(quantized)) : null,
  );
}

function rank({ label, probability }, model, isPredicted) {
  const bar = el("i");
  bar.style.width = `${Math.max(0.4, Number(probability) * 100)}%`;
  bar.style.background = model.colour;
  return el(
    "li",
    {},
    el("div", { class: "rank" }, el("span", {}, isPredicted ? `${label} ✓` : label), el("span", {}, percent(probability))),
    el("div", { class: "bar", "aria-hidden": "true" }, bar),
  );
}
