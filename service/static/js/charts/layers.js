// Norms by layer: all models on one chart, or, where they are many, each on a chart of its own.

import { el, svg } from "../elements/dom.js";
import { INSET, picture, responsive, wholeTicks } from "./frame.js";
import { drawable, logTicks, tickName } from "./logarithmic.js";
import { swatch } from "./looks.js";

export const TOGETHER = 8; // curves that can still be told apart on one chart
const NARROW = 440; // pixels of a chart that has no room for a whole label, but for the name at its beginning

/**
 * Draws norms by layer on a logarithmic axis, with a cursor that a pointer, a finger or the arrow keys move.
 *
 * curves: [{model, values}] with one value per layer; values that are 0 or not finite leave a gap.
 * bounds: [{value, text, side}], lines across the chart; the sick side is "above" or "below".
 * moved(position): called with the layer under the cursor, counted from 0; gives the text that screen readers speak.
 * settled(position): called once the cursor rests.
 */
export function layerChart({ curves, bounds, label, start, moved, settled }) {
  const layers = Math.max(...curves.map(({ values }) => values.length));
  const axis = logTicks([...curves.flatMap(({ values }) => values), ...bounds.map(({ value }) => value)]);
  const apart = curves.length > TOGETHER;
  const groups = apart ? curves.map((curve) => [curve]) : [curves];
  const cursors = groups.map(() => () => {});
  const charts = groups.map((group, at) =>
    responsive(el("div", { class: "chart" }), (width) => {
      const plot = drawLayers({ curves: group, bounds, label, layers, axis, width, small: apart });
      cursors[at] = cursor(plot, group);
      cursors[at](Number(scrub.value) - 1);
      const x = plot.scale("x");
      plot.addEventListener("pointermove", (event) => {
        const layer = x.invert(event.clientX - plot.getBoundingClientRect().left);
        go(Math.min(layers, Math.max(1, Math.round(layer))) - 1);
      });
      plot.addEventListener("pointerleave", rest);
      return plot;
    }),
  );
  const scrub = el("input", {
    type: "range",
    class: apart ? "scrub wide" : "scrub",
    min: 1,
    max: layers,
    value: start + 1,
    "aria-label": "Layer, from the input to the loss",
    input: () => go(Number(scrub.value) - 1),
    change: rest,
  });
  scrub.style.setProperty("--inset-left", `${INSET.left}px`);
  scrub.style.setProperty("--inset-right", `${INSET.right}px`);

  function go(position) {
    scrub.value = position + 1;
    for (const place of cursors) place(position);
    scrub.setAttribute("aria-valuetext", moved(position));
  }
  function rest() {
    settled(Number(scrub.value) - 1);
  }
  go(start);
  if (!apart) return [charts[0], scrub];
  return [
    el("p", { class: "small muted" }, `${label}, by layer; all charts have the same scale.`),
    el("div", { class: "panels" }, curves.map(({ model }, at) => el("figure", {}, el("figcaption", {}, swatch(model), model.name), charts[at]))),
    scrub,
  ];
}

function drawLayers({ curves, bounds, label, layers, axis, width, small }) {
  const across = small ? "by layer" : "by layer from the input to the loss, on a logarithmic axis";
  const title = width < NARROW ? label.split(/[:,]/)[0] : label;
  const subject = small ? `${curves[0].model.name}: ${label}` : label;
  return picture({
    ariaLabel: `${subject}, ${across}`,
    width,
    height: small ? 150 : Math.max(260, Math.min(360, width * 0.42)),
    marginLeft: INSET.left,
    marginRight: INSET.right,
    marginTop: small ? 10 : 30,
    marginBottom: small ? 24 : 40,
    x: { domain: [1, Math.max(2, layers)], inset: 6, label: small ? null : "layer, from the input to the loss →", labelAnchor: "right" },
    y: { type: "log", domain: axis.domain },
    marks: [
      Plot.gridY(axis.ticks, { stroke: "var(--line)", strokeOpacity: 1 }),
      Plot.axisY(small ? axis.ticks.filter((_, at) => at % 2 === 0) : axis.ticks, {
        text: tickName, // tickFormat would leave out what d3 finds too dense
        tickSize: 0,
        label: small ? null : title,
        labelArrow: "none",
      }),
      Plot.axisX(wholeTicks(1, layers, width), { tickSize: 0, labelArrow: "none", tickFormat: "d" }),
      ...bounds.flatMap((bound) => boundMarks(bound, small)),
      ...curves.map(({ model, values: norms }) =>
        Plot.lineY(norms, {
          x: (_, at) => at + 1,
          y: (value) => (drawable(value) ? value : NaN),
          stroke: model.colour,
          strokeWidth: 2.2,
          strokeDasharray: model.dash,
          strokeLinejoin: "round",
          marker: width / layers > 14 && !model.dash ? "dot" : null,
        }),
      ),
    ],
  });
}

/** Draws a bound, with its words on the healthy side, where there is room. */
function boundMarks({ value, text, side }, small) {
  const line = Plot.ruleY([value], { stroke: "var(--sick)", strokeWidth: 1.2, strokeDasharray: "1 4", strokeLinecap: "round" });
  if (small) return [line];
  const words = Plot.text([text], {
    x: () => 1,
    y: () => value,
    dy: side === "above" ? 9 : -8,
    textAnchor: "start",
    fill: "var(--sick)",
    stroke: "var(--card)",
    strokeWidth: 4,
  });
  return [line, words];
}

/** Adds the cursor to a plot, and gives the function that moves it to a layer. */
function cursor(plot, curves) {
  const x = plot.scale("x");
  const y = plot.scale("y");
  const line = svg("line", { y1: y.range[0], y2: y.range[1] });
  const dots = curves.map(({ model }) => svg("circle", { r: 5, fill: model.colour }));
  plot.append(svg("g", { class: "cursor", "aria-hidden": "true" }, line, dots));
  return (position) => {
    const at = x.apply(position + 1);
    line.setAttribute("x1", at);
    line.setAttribute("x2", at);
    dots.forEach((dot, index) => {
      const value = curves[index].values[position];
      dot.setAttribute("visibility", drawable(value) ? "visible" : "hidden");
      if (drawable(value)) {
        dot.setAttribute("cx", at);
        dot.setAttribute("cy", y.apply(value));
      }
    });
  };
}
