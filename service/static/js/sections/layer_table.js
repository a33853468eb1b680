// Gradients in numbers: one layer of every model, or every layer of one quantity.

import { swatch } from "../charts/looks.js";
import { el, scrollable } from "../elements/dom.js";
import { explained } from "../elements/glossary.js";
import { number, plural, short } from "../elements/numbers.js";
import { stateBadge } from "./explanation.js";

const norm = (layer, field) => (layer ? number(layer[field]?.[0]) : NaN);

/** Writes one layer of every model, counted from 0, in all quantities: [title, table]. */
export function layerTable(answered, at, quantities) {
  const layer = layerAt(answered, at);
  const title = `Layer ${at + 1}, ${layer.name}`;
  const facts = `${layer.operator} ${layer.shape.join(" × ")}, ${plural(layer.parameters, "weight")}`;
  const heads = Object.values(quantities).map(({ name, term }) => el("th", { scope: "col" }, explained(term ?? name.toLowerCase())));
  const table = el(
    "table",
    { "aria-label": title },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "model"), el("th", { scope: "col", class: "words" }, "this layer"), heads)),
    el(
      "tbody",
      {},
      answered.map(({ model, answer }) => {
        const own = answer.layers[at];
        return el(
          "tr",
          {},
          el("th", { scope: "row" }, swatch(model), model.name),
          el("td", { class: "words" }, own ? stateBadge(own.verdict) : "–"),
          Object.keys(quantities).map((field) => el("td", {}, short(norm(own, field)))),
        );
      }),
    ),
  );
  return [el("h3", {}, title, " ", el("span", { class: "facts" }, facts)), scrollable(title, table)];
}

/** Says one layer of every model in one quantity, for screen readers. */
export function spokenLayer(answered, at, quantity) {
  const values = answered.map(({ model, answer }) => `${model.name} ${short(norm(answer.layers[at], quantity))}`);
  return `${at + 1}, ${layerAt(answered, at).name}: ${values.join(", ")}`;
}

/** Gives this layer of the first model that is so deep. */
const layerAt = (answered, at) => answered.find(({ answer }) => answer.layers[at]).answer.layers[at];

/** Writes every layer of every model in one quantity. */
export function everyLayer(answered, quantity, caption) {
  const longest = answered.reduce((one, other) => (other.answer.layers.length > one.answer.layers.length ? other : one));
  const names = (at) => [...new Set(answered.map(({ answer }) => answer.layers[at]?.name).filter(Boolean))].join(" / ");
  return el(
    "table",
    {},
    el("caption", { class: "visually-hidden" }, `${caption}, by layer`),
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
