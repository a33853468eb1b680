// A model's curve in the size of a word: how the gradient fares on its way, at one glance.

import { svg } from "../elements/dom.js";
import { drawable, logTicks } from "./logarithmic.js";

const [WIDTH, HEIGHT, EDGE] = [132, 40, 3];

/**
 * Draws one small curve per list of values, all on the same logarithmic scale, with the space between `bounds` shaded.
 *
 * curves: [{model, values}]; bounds: the lower and the upper one. Gives one picture per curve.
 */
export function sparks(curves, bounds) {
  const [low, high] = logTicks([...curves.flatMap(({ values }) => values), ...bounds]).domain.map(Math.log10);
  const y = (value) => EDGE + ((high - Math.log10(value)) / (high - low)) * (HEIGHT - 2 * EDGE);
  return curves.map(({ model, values }) => {
    const x = (at) => EDGE + (at / Math.max(1, values.length - 1)) * (WIDTH - 2 * EDGE);
    const steps = values.map((value, at) => {
      if (!drawable(value)) return "";
      return `${at && drawable(values[at - 1]) ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    });
    return svg(
      "svg",
      { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true" },
      svg("rect", { x: 0, width: WIDTH, y: y(bounds[1]), height: y(bounds[0]) - y(bounds[1]), rx: 3 }),
      svg("path", { d: steps.join(""), stroke: model.colour, "stroke-dasharray": model.dash }),
    );
  });
}
