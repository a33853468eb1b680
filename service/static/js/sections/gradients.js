// The gradient in every layer: one curve per model, and the layer under the cursor in numbers.

import { answerAndPlot } from "../service/api.js";
import { layerChart, TOGETHER } from "../charts/layers.js";
import { drawable } from "../charts/logarithmic.js";
import { swatch } from "../charts/looks.js";
import { commands } from "../elements/commands.js";
import { el, scrollable, section, segments } from "../elements/dom.js";
import { explained } from "../elements/glossary.js";
import { list, number, plural } from "../elements/numbers.js";
import { everyLayer, layerTable, spokenLayer } from "./layer_table.js";
import { JUDGED } from "./verdicts.js";

const { root, finding, body, footer, clear } = section("gradients");
export { clear };

const QUANTITIES = {
  [JUDGED]: {
    name: "Relative",
    term: "relative gradient",
    axis: "relative gradient: scaled weight gradient ÷ gradient at the logits",
    says: "Each layer's scaled weight gradient, divided by the gradient at the logits, where every gradient begins. Vanishing, exploding and imbalanced are decided on this relative gradient.",
  },
  scaled_gradient_norm: {
    name: "Scaled weight",
    term: "scaled weight gradient",
    axis: "scaled weight gradient, √Σ(‖W_c‖·‖∂L/∂W_c‖)², loss",
    says: "Each layer's weight gradient, times its weights, channel by channel. Vanishing, exploding and imbalanced are decided on this, divided by the gradient at the logits.",
  },
  weight_gradient_norm: {
    name: "Weight",
    term: "weight gradient",
    axis: "weight gradient, ‖∂L/∂W‖₂, loss per unit of weight",
    says: "Each layer's weight gradient as an optimizer gets it. No verdict is decided on it.",
  },
  activation_gradient_norm: {
    name: "Activation",
    term: "activation gradient",
    axis: "activation gradient, ‖∂L/∂y‖₂, loss per unit of activation",
    says: "The gradient of each layer's output, on its way back. No verdict is decided on it.",
  },
  gradient_to_weight_ratio: {
    name: "Gradient ÷ weight",
    axis: "weight gradient ÷ weight, ‖∂L/∂W‖₂ / ‖W‖₂",
    says: "Each layer's weight gradient, divided by the norm of its weights. No verdict is decided on it.",
  },
};

/**
 * Shows the gradients of the models that answered: [{model, answer}].
 *
 * view: {quantity, layer}, the layer counted from 1; `changed` gets what the visitor changes of it.
 * request: gives a model's request, for the commands.
 */
export function showGradients(answered, view, changed, request) {
  if (!answered.length) return clear();
  root.hidden = false;
  body.replaceChildren(...drawn(answered, view, changed));
  footer.replaceChildren(commands(answered.flatMap(({ model }) => answerAndPlot(...request(model)))));
}

function drawn(answered, view, changed) {
  const shown = { quantity: view.quantity in QUANTITIES ? view.quantity : JUDGED, layer: view.layer };
  const chart = el("div", { "data-chart": true });
  const readout = el("div", { class: "readout" });
  const all = el("details", { "data-table": true }, el("summary", {}, "Every layer in a table"), el("div"));
  const choice = segments("quantity", "Gradient", Object.entries(QUANTITIES).map(([field, { name }]) => [field, name]), shown.quantity, (quantity) => {
    shown.quantity = quantity;
    changed({ quantity: quantity === JUDGED ? null : quantity });
    draw();
  });
  const key = el("ul", { class: "key", "aria-label": "Models" }, answered.map(({ model }) => el("li", {}, swatch(model), model.name)));

  function draw() {
    const { name, axis, says } = QUANTITIES[shown.quantity];
    const curves = answered.map(({ model, answer }) => ({ model, values: answer.layers.map((layer) => number(layer[shown.quantity][0])) }));
    const layers = Math.max(...curves.map(({ values }) => values.length));
    shown.layer = Math.min(shown.layer, layers);
    finding.replaceChildren(...explained(says));
    const bounds = shown.quantity === JUDGED ? boundsOf(answered) : [];
    const moved = (at) => {
      shown.layer = at + 1;
      readout.replaceChildren(...layerTable(answered, at, QUANTITIES));
      return spokenLayer(answered, at, shown.quantity);
    };
    chart.replaceChildren(
      ...layerChart({ curves, bounds, label: axis, start: shown.layer - 1, moved, settled: (at) => changed({ layer: at + 1 }) }),
      ...[...(bounds.length ? ends(answered) : []), ...saturated(answered), ...gaps(curves)].map((text) => el("p", { class: "small muted" }, text)),
    );
    all.lastChild.replaceChildren(scrollable(`Every layer, ${name}`, everyLayer(answered, shown.quantity, axis), true));
  }
  draw();
  return [el("div", { class: "control-row" }, choice, answered.length > TOGETHER ? null : key), chart, readout, all];
}

/** Gives the sizes from which a network is sick, for the chart. */
function boundsOf(answered) {
  const { largest_size: high, smallest_size: low } = answered[0].answer.verdict.thresholds;
  return [
    { value: high, text: "↑ exploding, if half of the layers are above", side: "above" },
    { value: low, text: "↓ vanishing, if half of the layers are below", side: "below" },
  ];
}

/** Says the rule that lines cannot show: how the first layers compare with the last. */
function ends(answered) {
  const { growth_ratio: growth, decay_ratio: decay } = answered[0].answer.verdict.thresholds;
  const times = (ratio) => Number(ratio.toPrecision(3)).toLocaleString("en");
  return [
    `A model explodes, too, if its first layers get ${times(growth)} times as much as its last, and vanishes if its last get ${times(1 / decay)} times as much as its first, with a steady trend between.`,
  ];
}

/** Says of which class the relative gradient is, where that of the predicted one is 0. */
function saturated(answered) {
  const names = answered.filter(({ answer }) => answer.samples[0].saturated).map(({ model }) => model.name);
  if (!names.length) return [];
  return [`${list(names)} ${names.length === 1 ? "is" : "are"} so certain of the answer that the gradient is 0 in single precision; the relative gradient is that of the runner-up label.`];
}

function gaps(curves) {
  const missing = curves.map(({ model, values }) => [model.name, values.filter((value) => !drawable(value)).length]).filter(([, count]) => count);
  if (!missing.length) return [];
  return [`Not drawn, because 0 or not finite: ${list(missing.map(([name, count]) => `${plural(count, "layer")} of ${name}`))}.`];
}
