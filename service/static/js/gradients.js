// The gradient in every layer: verdicts in sentences, one curve per model, and the layer under the cursor in numbers.

import { ask, curl, showProgress } from "./api.js";
import { layerChart } from "./charts.js";
import { commands, el, scrollable, section, segments } from "./dom.js";
import { list, number, plural, sentence, short, times } from "./numbers.js";
import { swatch } from "./looks.js";
import { problemBox } from "./problem.js";

const { root, finding, body, footer, clear } = section("gradients");
export { clear };

const QUANTITIES = {
  activation_gradient_norm: { name: "Activation", axis: "‖∂L/∂y‖₂, loss per unit of activation" },
  weight_gradient_norm: { name: "Weight", axis: "‖∂L/∂W‖₂, loss per unit of weight" },
  scaled_gradient_norm: { name: "Scaled weight", axis: "√Σ(‖W_c‖·‖∂L/∂W_c‖)², loss" },
  relative_gradient_norm: { name: "Relative", axis: "scaled weight gradient / ‖∂L/∂logits‖₂" },
  gradient_to_weight_ratio: { name: "Gradient ÷ weight", axis: "‖∂L/∂W‖₂ / ‖W‖₂" },
};

let quantity = "activation_gradient_norm";
let position = 0;

/** Shows the gradients of every model at the photograph, for `labels` or, without any, for those predicted. */
export async function showGradients(photograph, models, labels, signal) {
  const query = (model) => [["model", model.name], ...labels.map((label) => ["label", label])];
  const request = (model) => ["diagnostics/gradients", { query: query(model), images: [photograph] }];
  const work = models.map((model) => ask(request(model)[0], { ...request(model)[1], signal }));
  const results = await showProgress(root, Promise.allSettled(work));
  if (signal.aborted) return;
  const answered = models.flatMap((model, at) => (results[at].value ? [{ model, answer: results[at].value.answer }] : []));
  const problems = results.filter(({ reason }) => reason).map(({ reason }) => problemBox(reason));
  finding.textContent = answered.length ? contrast(answered) : "";
  body.replaceChildren(...problems.slice(0, 1), ...(answered.length ? drawn(answered) : []));
  footer.replaceChildren(
    commands(models.flatMap((model) => [curl(...request(model)), curl(request(model)[0], { ...request(model)[1], svg: true })])),
  );
}


function drawn(answered) {
  const chart = el("div");
  const readout = el("div", { class: "readout" });
  const all = el("details", { "data-table": true }, el("summary", {}, "Every layer in a table"), el("div"));
  const choice = segments(
    "quantity",
    "Gradient of",
    Object.entries(QUANTITIES).map(([field, { name }]) => [field, name]),
    quantity,
    (chosen) => {
      quantity = chosen;
      draw();
    },
  );
  const key = el("ul", { class: "key", "aria-label": "Models" }, answered.map(({ model }) => el("li", {}, swatch(model), model.name)));

  function draw() {
    const curves = answered.map(({ model, answer }) => ({ model, values: answer.layers.map((layer) => number(layer[quantity][0])) }));
    const layers = Math.max(...curves.map(({ values }) => values.length));
    position = Math.min(position, layers - 1);
    const moved = (at) => {
      position = at;
      readout.replaceChildren(...layerTable(answered, at));
      return spoken(answered, at);
    };
    chart.replaceChildren(...layerChart({ curves, label: QUANTITIES[quantity].axis, start: position, moved }), ...gaps(curves));
    all.lastChild.replaceChildren(scrollable("Every layer", everyLayer(answered), true));
  }
  draw();
  return [el("div", { class: "verdicts" }, verdicts(answered)), el("div", { class: "control-row" }, choice, key), chart, readout, all];
}

const norm = (layer, field) => (layer ? number(layer[field]?.[0]) : NaN);

function gaps(curves) {
  const missing = curves
    .map(({ model, values }) => [model.name, values.filter((value) => !(Number.isFinite(value) && value > 0)).length])
    .filter(([, count]) => count);
  if (!missing.length) return [];
  return [el("p", { class: "small muted" }, `Not drawn, because 0 or not finite: ${list(missing.map(([name, count]) => `${plural(count, "layer")} of ${name}`))}.`)];
}

function layerTable(answered, at) {
  const first = answered.find(({ answer }) => answer.layers[at]);
  const layer = first.answer.layers[at];
  const title = `Layer ${at + 1}, ${layer.name}`;
  const facts = `${layer.operator} ${layer.shape.join(" × ")}, ${plural(layer.parameters, "weight")}`;
  const table = el(
    "table",
    { "aria-label": title },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "model"), Object.values(QUANTITIES).map(({ name }) => el("th", { scope: "col" }, name.toLowerCase())), el("th", { scope: "col" }, "verdict"))),
    el(
      "tbody",
      {},
      answered.map(({ model, answer }) => {
        const own = answer.layers[at];
        return el(
          "tr",
          {},
          el("th", { scope: "row" }, swatch(model), model.name),
          Object.keys(QUANTITIES).map((field) => el("td", {}, short(norm(own, field)))),
          el("td", {}, own ? state(own.verdict) : "–"),
        );
      }),
    ),
  );
  return [el("h3", {}, title, " ", el("span", { class: "facts" }, facts)), scrollable(title, table)];
}

const spoken = (answered, at) => {
  const named = answered.find(({ answer }) => answer.layers[at])?.answer.layers[at].name;
  const values = answered.map(({ model, answer }) => `${model.name} ${short(norm(answer.layers[at], quantity))}`);
  return `${at + 1}, ${named}: ${values.join(", ")}`;
};

function everyLayer(answered) {
  const longest = answered.reduce((one, other) => (other.answer.layers.length > one.answer.layers.length ? other : one));
  const names = (at) => [...new Set(answered.map(({ answer }) => answer.layers[at]?.name).filter(Boolean))].join(" / ");
  return el(
    "table",
    {},
    el("caption", { class: "visually-hidden" }, `${QUANTITIES[quantity].axis}, by layer`),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "layer"), answered.map(({ model }) => el("th", { scope: "col" }, model.name)))),
    el(
      "tbody",
      {},
      longest.answer.layers.map((_, at) =>
        el("tr", {}, el("th", { scope: "row" }, `${at + 1}  ${names(at)}`), answered.map(({ answer }) => el("td", {}, short(norm(answer.layers[at], quantity))))),
      ),
    ),
  );
}

const state = (word) => el("span", { class: "state", "data-state": word }, word);

function verdicts(answered) {
  return answered.map(({ model, answer: { verdict, ...answer } }) =>
    el(
      "div",
      { class: "verdict", "data-model": model.name },
      el("p", { class: "verdict-title" }, swatch(model), model.name, state(verdict.state)),
      el("p", {}, [sentence(verdict.because), ...remarks(answer)].join(" ")),
      verdict.findings.length ? findings(verdict.findings) : null,
    ),
  );
}

/** Says what a reader of the norms must know about this photograph. */
function remarks({ samples: [sample], layers, unlike_itself: unlike, quantized }) {
  const said = quantized ? [sentence(quantized)] : [];
  if (sample.saturated) said.push("The network is so certain that the gradient is 0 in single precision.");
  if (unlike?.layers.length) {
    said.push(`In ${unlike.layers.length} of ${layers.length} layers it lies outside the range of ${unlike.images} training images.`);
  } else if (unlike) {
    said.push(`In every layer it lies within the range of ${unlike.images} training images.`);
  }
  return said;
}

function findings(entries) {
  const columns = ["finding", "rule", "value", "threshold", "layers"];
  return el(
    "details",
    {},
    el("summary", {}, `${plural(entries.length, "finding")} with rule and threshold`),
    scrollable(
      "Findings",
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, columns.map((name) => el("th", { scope: "col", class: name === "rule" ? "words" : null }, name)))),
        el(
          "tbody",
          {},
          entries.map((entry) =>
            el(
              "tr",
              {},
              el("th", { scope: "row" }, entry.finding),
              el("td", { class: "words" }, entry.rule),
              el("td", {}, short(entry.value)),
              el("td", {}, short(entry.threshold)),
              el("td", { title: entry.layers.join(", ") }, String(entry.layers.length)),
            ),
          ),
        ),
      ),
    ),
  );
}

/** Says how much each model's gradient changes on its way from the last layer to the first. */
function contrast(answered) {
  const changes = { shrinks: [], grows: [], "is 0 or not finite": [] };
  for (const { model, answer } of answered) {
    const norms = answer.layers.map((layer) => norm(layer, "activation_gradient_norm"));
    const ratio = norms[0] / norms.at(-1);
    if (!(Number.isFinite(ratio) && ratio > 0)) changes["is 0 or not finite"].push(`in ${model.name}`);
    else if (ratio < 1) changes.shrinks.push(`${times(1 / ratio)} in ${model.name}`);
    else changes.grows.push(`${times(ratio)} in ${model.name}`);
  }
  const clauses = Object.entries(changes).filter(([, models]) => models.length);
  return `From the last layer back to the first, the gradient ${clauses.map(([verb, models]) => `${verb} ${list(models)}`).join("; it ")}.`;
}
