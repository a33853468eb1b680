// The path to a second photograph: how much the gradient at one point has in common with the gradient at the next.

import { answerAndPlot, ask, showProgress } from "../service/api.js";
import { autocorrelationChart } from "../charts/lines.js";
import { swatch } from "../charts/looks.js";
import { matrixKey, matrixPicture } from "../charts/matrix.js";
import { dropField } from "../choices/photograph.js";
import { NOISE } from "../choices/photographs.js";
import { sampleButtons } from "../choices/samples.js";
import { commands } from "../elements/commands.js";
import { el, scrollable, section } from "../elements/dom.js";
import { explained } from "../elements/glossary.js";
import { list, number, sentence, short } from "../elements/numbers.js";
import { problemBox } from "../elements/problem.js";
import { stateBadge, texts } from "./explanation.js";
import { summaryOf } from "./summary.js";

const { root, controls, finding, body, footer, clear } = section("shattering");
export { clear };

const SEVERITY = ["shattered", "rough", "undetermined", "smooth"];

const INTRODUCTION =
  "Where gradients shatter, the gradient at one point says nothing about the next. Choose a second photograph: the path " +
  "between the two shows how fast the gradient forgets itself.";

/** Shows the section without a path. */
export function introduce() {
  clear();
  root.hidden = false;
  finding.replaceChildren(...explained(INTRODUCTION));
}

/** Says that there is no path, and why. */
export function showNoPath(problem) {
  introduce();
  body.replaceChildren(problemBox(problem));
}

/**
 * Makes the controls that choose the second photograph. `chosen` gets the name of a sample or "noise", and `taken` a
 * photograph of the visitor's own. Gives the function that marks a choice.
 */
export function secondPhotograph(chosen, taken) {
  const samples = el("div", { class: "samples", role: "group", "aria-label": "Samples for the second photograph" });
  const input = el("input", { type: "file", class: "visually-hidden", accept: "image/*", id: "second-file" });
  const field = el("label", { class: "button second" }, input, "Choose a file …");
  dropField(field, input, taken);
  const mark = sampleButtons(samples, chosen);
  const noise = el("button", { type: "button", class: "button", "aria-pressed": "false", click: () => chosen(NOISE.name) }, "Noise instead");
  controls.replaceChildren(el("div", { class: "second-choice" }, samples, field, noise));
  return (name) => {
    mark(name);
    noise.setAttribute("aria-pressed", name === NOISE.name);
  };
}

/** Shows the gradient of every model along the path from the first photograph to the second. */
export async function showShattering({ first, second, note, models, labels }, signal) {
  const request = (model) => [
    "diagnostics/shattering",
    { query: [["model", model.name], ...labels.map((label) => ["label", label])], images: second === NOISE ? [first] : [first, second] },
  ];
  root.hidden = false;
  const work = models.map((model) => ask(...request(model), signal));
  const results = await showProgress(root, Promise.allSettled(work));
  if (signal.aborted) return;
  const answered = models.flatMap((model, at) => (results[at].value ? [{ model, answer: results[at].value.answer }] : []));
  const problems = results.filter(({ reason }) => reason).map(({ reason }) => problemBox(reason));
  if (answered.length) finding.textContent = summaryOf(SEVERITY, answered.map(({ model, answer }) => [model.name, answer.verdict.state]));
  body.replaceChildren(...[note].filter(Boolean), ...problems.slice(0, 1), ...(answered.length ? drawn(answered, first, second) : []));
  footer.replaceChildren(commands(models.flatMap((model) => answerAndPlot(...request(model)))));
}

function drawn(answered, first, second) {
  const matrices = answered.map(({ model, answer }) => {
    const rows = answer.correlation.map((row) => row.map(number));
    return el(
      "figure",
      {},
      el("figcaption", {}, swatch(model), ` ${model.name}`),
      matrixPicture(rows, `Correlation between the gradients of ${model.name} at ${answer.points} points, from the first photograph to the second`),
      el("div", { class: "ends" }, el("span", {}, bare(first)), el("span", {}, bare(second))),
    );
  });
  const counts = [...new Set(answered.map(({ answer }) => answer.points))];
  const differ = counts.length > 1;
  return [
    el("div", { class: "verdicts" }, answered.map(verdictOf)),
    differ ? el("p", { class: "small" }, differingPoints(answered)) : null,
    el(
      "div",
      { class: "pair" },
      el("div", {}, el("p", { class: "figure-title" }, "Correlation between gradients"), el("div", { class: "matrices", "data-count": matrices.length }, matrices), matrixKey()),
      el(
        "div",
        {},
        el("p", { class: "figure-title" }, "How fast it forgets itself"),
        el("ul", { class: "key", "aria-label": "Models" }, answered.map(({ model }) => el("li", {}, swatch(model), model.name))),
        chartOf(answered, differ),
      ),
    ),
    el("details", { "data-table": true }, el("summary", {}, "Autocorrelation in a table"), scrollable("Autocorrelation by lag", table(answered, differ), true)),
  ].filter(Boolean);
}

/** Says that the models did not take the same number of points, and how their curves can be compared all the same. */
function differingPoints(answered) {
  const taken = answered.map(({ model, answer }) => `${model.name} ${answer.points}`);
  return `The models took different numbers of points: ${list(taken)}. Their curves are therefore drawn over the distance along the path, and white and brown noise are those of the longest. Each verdict has the bounds for its own number.`;
}

/** Draws the curves by lag in points; where the numbers of points `differ`, by the distance in per cent of the path. */
function chartOf(answered, differ) {
  const steps = ({ autocorrelation: { lags }, points }) => lags.map((lag) => (differ ? (100 * lag) / (points - 1) : lag));
  const { answer } = longest(answered);
  return autocorrelationChart({
    curves: answered.map(({ model, answer }) => ({ model, lags: steps(answer), values: answer.autocorrelation.mean.map(number) })),
    lags: steps(answer),
    label: differ ? "lag, % of the path →" : "lag, points along the path →",
    white: answer.autocorrelation.white.map(number),
    brown: answer.autocorrelation.brown.map(number),
  });
}

const longest = (answered) => answered.reduce((most, one) => (one.answer.points > most.answer.points ? one : most));

function verdictOf({ model, answer: { verdict, quantized, points_note } }) {
  const seen = new Set();
  return el(
    "div",
    { class: "verdict", "data-model": model.name },
    el("p", { class: "verdict-title" }, swatch(model), model.name, stateBadge(verdict.state)),
    el("p", {}, explained([verdict.because, points_note, quantized].filter(Boolean).map(sentence).join(" "), seen)),
    el("details", {}, el("summary", {}, "What it means"), texts(verdict, seen)),
  );
}

const bare = ({ name }) => name.replace(/\.\w+$/, "");

function table(answered, differ) {
  const { lags, white, brown } = longest(answered).answer.autocorrelation;
  const named = ({ model, answer }) => (differ ? `${model.name}, ${answer.points} points` : model.name);
  const columns = [...answered.map((one) => [named(one), one.answer.autocorrelation.mean]), ["white noise", white], ["brown noise", brown]];
  return el(
    "table",
    {},
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, differ ? "lag, points" : "lag"), columns.map(([name]) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, lags.map((lag, at) => el("tr", {}, el("th", { scope: "row" }, String(lag)), columns.map(([, values]) => el("td", {}, short(values[at])))))),
  );
}
