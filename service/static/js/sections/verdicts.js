// The verdict on every model in a sentence, beside what the model sees; what it means and what to try, a click away.

import { ask, curl } from "../service/api.js";
import { sparks } from "../charts/spark.js";
import { swatch } from "../charts/looks.js";
import { commands } from "../elements/commands.js";
import { el, say, section } from "../elements/dom.js";
import { explained } from "../elements/glossary.js";
import { duration, number, percent, sentence } from "../elements/numbers.js";
import { problemBox } from "../elements/problem.js";
import { explanation, stateBadge } from "./explanation.js";
import { ranks, sight } from "./predicted.js";
import { summaryOf } from "./summary.js";

const { root, finding, body, footer, clear } = section("verdicts");
export { clear };

export const JUDGED = "relative_gradient_norm"; // the quantity on which the verdicts are decided
const SEVERITY = ["not finite", "exploding", "vanishing", "dead", "imbalanced", "undetermined", "healthy"];
const ONE_COLUMN = 5; // most models whose verdicts stand below each other

/** Makes a row for every model, which its answers fill as they come. */
export function openRows(models) {
  root.hidden = false;
  finding.textContent = "Measuring …";
  const rows = models.map((model) => {
    const facts = el("p", { class: "facts" });
    const parts = { state: el("span"), spark: el("div"), because: el("p", { class: "because" }), facts, more: el("div", { class: "more" }, facts) };
    const title = el("h3", {}, swatch(model), el("span", { class: "name" }, model.name));
    const heading = el("div", { class: "row-title" }, title, parts.state);
    const article = el("article", { "data-model": model.name, "aria-busy": "true" }, heading, parts.spark, parts.because, parts.more);
    return { model, article, parts };
  });
  body.classList.toggle("many", models.length > ONE_COLUMN);
  body.replaceChildren(...rows.map(({ article }) => article));
  return rows;
}

/** Classifies the photograph with every model; `askWhy` is for a label's button. Throws the problem if none answers. */
export async function showLabels(rows, photograph, signal, askWhy) {
  const request = (model) => ["predict", { query: [["model", model.name]], images: [photograph] }];
  const results = await Promise.allSettled(
    rows.map(async ({ model, parts }) => {
      const { answer, milliseconds } = await ask(...request(model), signal);
      const seen = sight(answer.predictions[0]);
      parts.facts.replaceChildren(...facts(model, seen, milliseconds));
      parts.more.append(unfolding(model, "labels", el("details", { "data-labels": true }, el("summary", {}, "Labels"), ranks(model, answer, askWhy))));
      return `${model.name}: ${seen}.`;
    }),
  );
  if (signal.aborted) return;
  if (results.every(({ status }) => status === "rejected")) throw results[0].reason;
  results.forEach(({ reason }, at) => reason && rows[at].parts.facts.replaceChildren(problemBox(reason)));
  say(results.map(({ value }) => value).filter(Boolean).join(" "));
  footer.replaceChildren(commands(rows.map(({ model }) => curl(...request(model)))));
}

function facts({ detail }, seen, milliseconds) {
  const error = detail.training?.final?.test_error;
  return [
    "Sees ",
    el("b", {}, seen),
    el("span", { class: "time", title: "from sending the photograph to having the answer" }, ` in ${duration(milliseconds)}`),
    error === undefined ? null : ` · test error ${percent(error)}`,
  ].filter(Boolean);
}

/** Fills a model's row with its verdict, from an answer of /diagnostics/gradients. */
export function showVerdict({ model, article, parts }, answer) {
  const { verdict } = answer;
  article.removeAttribute("aria-busy");
  article.dataset.state = verdict.state;
  parts.state.replaceWith((parts.state = stateBadge(verdict.state)));
  parts.because.replaceChildren(...explained(sentence(verdict.because)));
  parts.facts.after(unfolding(model, "meaning", explanation(model, answer)));
}

const unfolded = new Set(); // what the visitor opened stays open when he asks for another photograph

function unfolding({ name }, part, details) {
  const key = `${part} of ${name}`;
  details.open = unfolded.has(key);
  details.addEventListener("toggle", () => unfolded[details.open ? "add" : "delete"](key));
  return details;
}

/** Says that a model gave no verdict, and why. */
export function showNoVerdict({ article, parts }, problem) {
  article.removeAttribute("aria-busy");
  parts.because.replaceChildren(problemBox(problem));
}

/** Sums up, puts the worst first, and draws every model's curve. answered: [{row, answer}]. */
export function settle(rows, answered) {
  const rank = (row) => SEVERITY.indexOf(answered.find((one) => one.row === row)?.answer.verdict.state);
  const sorted = [...rows].sort((one, other) => rank(one) - rank(other));
  if (sorted.some((row, at) => row.article !== body.children[at])) body.append(...sorted.map(({ article }) => article));
  const states = answered.map(({ row, answer }) => [row.model.name, answer.verdict.state]);
  const summary = states.length ? summaryOf(SEVERITY, states) : "No model has a verdict.";
  finding.textContent = summary;
  const sick = answered.filter(({ answer }) => answer.verdict.state !== "healthy");
  say([summary, ...sick.map(({ row, answer }) => `${row.model.name}: ${sentence(answer.verdict.because)}`)].join(" "));
  if (!answered.length) return;
  const { smallest_size: low, largest_size: high } = answered[0].answer.verdict.thresholds;
  const curves = answered.map(({ row, answer }) => ({ model: row.model, values: answer.layers.map((layer) => number(layer[JUDGED][0])) }));
  sparks(curves, [low, high]).forEach((spark, at) => {
    const { parts } = answered[at].row;
    parts.spark.replaceWith((parts.spark = spark));
  });
}
