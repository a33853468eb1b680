// The look of a model wherever it appears: its colour by family, its dashes by order within the family.

import { svg } from "./dom.js";

const DASHES = [null, "7 4", "2 4", "10 3 2 3", "14 5", "10 3 2 3 2 3"];

/** Sets `colour` and `dash` of every model of the list. */
export function assignLooks(models) {
  const seen = {};
  for (const model of models) {
    const family = model.family;
    const order = (seen[family] = (seen[family] ?? -1) + 1);
    model.colour = `var(--${family})`;
    model.dash = DASHES[Math.min(order, DASHES.length - 1)];
  }
}

/** Draws a short stroke in the model's colour and dashes. */
export function swatch(model) {
  const line = svg("line", { x1: 0, x2: 27, y1: 5, y2: 5, stroke: model.colour, "stroke-dasharray": model.dash });
  return svg("svg", { class: "swatch", viewBox: "0 0 27 10", "aria-hidden": "true" }, line);
}
