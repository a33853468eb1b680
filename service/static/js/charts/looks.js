// The looks of curves: no two models that are shown together have the same colour and dashes, up to 24 of them.

import { svg } from "../elements/dom.js";

const COLOURS = ["purple", "grey", "olive", "imported", "plain", "residual"]; // those of families last
const DASHES = [null, "7 4", "2 4", "12 4 2 4"];
const LOOKS = DASHES.flatMap((dash) => COLOURS.map((colour) => ({ colour: `var(--${colour})`, dash })));

/**
 * Sets `colour` and `dash` of the models that are chosen, and takes them from the others.
 *
 * A model keeps its look as long as it is chosen. A new one gets a free one, first in the colour of its family.
 */
export function assignLooks(chosen, models) {
  for (const model of models) if (!chosen.includes(model)) Object.assign(model, { colour: null, dash: null });
  const taken = new Set(chosen.filter(({ colour }) => colour).map(key));
  for (const [at, model] of chosen.entries()) {
    if (model.colour) continue;
    const family = `var(--${model.family})`;
    const ofFamily = LOOKS.filter(({ colour }) => colour === family).slice(0, 2);
    const free = [...ofFamily, ...LOOKS].find((look) => !taken.has(key(look))) ?? LOOKS[at % LOOKS.length];
    Object.assign(model, free);
    taken.add(key(free));
  }
}

const key = ({ colour, dash }) => `${colour} ${dash}`;

/** Draws a short stroke in the model's colour and dashes; an empty one for a model that is not shown. */
export function swatch(model) {
  const line = model.colour && svg("line", { x1: 0, x2: 27, y1: 5, y2: 5, stroke: model.colour, "stroke-dasharray": model.dash });
  return svg("svg", { class: "swatch", viewBox: "0 0 27 10", "aria-hidden": "true" }, line);
}
