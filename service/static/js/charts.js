// Charts by Observable Plot. `Plot` and `d3` are globals: their bundles are loaded before the modules.

import { el, svg } from "./dom.js";
import { powerOfTen } from "./numbers.js";

const INSET = { left: 48, right: 14 };
const CLASS = "plot"; // fixed, because the content-security policy allows Plot's style by the digest of its text

/** Draws into `holder` now and whenever its width changes. */
export function responsive(holder, draw) {
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now && now !== width) {
      width = now;
      holder.replaceChildren(draw(width));
    }
  }).observe(holder);
  return holder;
}

/** Plots one picture for screen readers; the names of its parts become `data-mark`. */
function picture(options) {
  const plot = Plot.plot({ className: CLASS, ...options });
  plot.setAttribute("role", "img");
  for (const part of plot.querySelectorAll("[aria-label]")) {
    part.dataset.mark = part.getAttribute("aria-label");
    part.removeAttribute("aria-label");
  }
  return plot;
}

/**
 * Draws norms by layer on a logarithmic axis, with a cursor that a pointer, a finger or the arrow keys move.
 *
 * curves: [{model, values}] with one value per layer; values that are 0 or not finite leave a gap.
 * moved(position): called with the layer under the cursor, counted from 0; gives the text that screen readers speak.
 */
export function layerChart({ curves, label, start, moved }) {
  const layers = Math.max(...curves.map(({ values }) => values.length));
  let place = () => {};
  const chart = responsive(el("div", { class: "chart" }), (width) => {
    const plot = drawLayers(curves, label, layers, width);
    place = cursor(plot, curves);
    place(Number(scrub.value) - 1);
    const x = plot.scale("x");
    plot.addEventListener("pointermove", (event) => {
      const at = x.invert(event.clientX - plot.getBoundingClientRect().left);
      go(Math.min(layers, Math.max(1, Math.round(at))) - 1);
    });
    return plot;
  });
  const scrub = el("input", {
    type: "range",
    class: "scrub",
    min: 1,
    max: layers,
    value: start + 1,
    "aria-label": "Layer, from the input to the loss",
    input: () => go(Number(scrub.value) - 1),
  });
  scrub.style.setProperty("--inset-left", `${INSET.left}px`);
  scrub.style.setProperty("--inset-right", `${INSET.right}px`);

  function go(position) {
    scrub.value = position + 1;
    place(position);
    scrub.setAttribute("aria-valuetext", moved(position));
  }
  go(start);
  return [chart, scrub];
}

const drawable = (value) => Number.isFinite(value) && value > 0;

/** Chooses domain and ticks of a logarithmic axis for the values: powers of ten, and 2 and 5 times them if it is short. */
function logTicks(values) {
  const [least, most] = values.length ? [Math.min(...values), Math.max(...values)] : [0.1, 1];
  const short = Math.log10(most / least) <= 2;
  const exponents = d3.range(Math.floor(Math.log10(least)) - 1, Math.ceil(Math.log10(most)) + 2);
  const grid = exponents.flatMap((exponent) => (short ? [1, 2, 5] : [1]).map((step) => step * 10 ** exponent));
  const low = d3.max(grid.filter((tick) => tick <= least * (1 + 1e-9)));
  const high = d3.min(grid.filter((tick) => tick >= most * (1 - 1e-9) && tick > low));
  const ticks = grid.filter((tick) => tick >= low && tick <= high);
  const every = Math.ceil(ticks.length / 8);
  return { domain: [low, high], ticks: ticks.filter((_, at) => at % every === 0) };
}

function tickName(value) {
  const exponent = Math.floor(Math.log10(value) + 1e-9);
  if (exponent >= -2 && exponent <= 3) return Number(value.toPrecision(1)).toLocaleString("en");
  const step = Math.round(value / 10 ** exponent);
  return (step === 1 ? "" : `${step}·`) + powerOfTen(exponent);
}

/** Chooses whole numbers for the ticks of an axis: d3 would put 1.5, written as 2, between 1 and 2. */
function wholeTicks(first, last, width) {
  return d3.ticks(first, last, Math.min(last, width / 60)).filter(Number.isInteger);
}

function drawLayers(curves, label, layers, width) {
  const { domain, ticks } = logTicks(curves.flatMap((curve) => curve.values).filter(drawable));
  return picture({
    ariaLabel: `${label}, by layer from the input to the loss, on a logarithmic axis`,
    width,
    height: Math.max(230, Math.min(340, width * 0.42)),
    marginLeft: INSET.left,
    marginRight: INSET.right,
    marginTop: 30,
    marginBottom: 40,
    x: { domain: [1, Math.max(2, layers)], inset: 6, label: "layer, from the input to the loss →", labelAnchor: "right" },
    y: { type: "log", domain },
    marks: [
      Plot.gridY(ticks, { stroke: "var(--line)", strokeOpacity: 1 }),
      Plot.axisY(ticks, {
        text: tickName, // tickFormat would leave out what d3 finds too dense
        tickSize: 0,
        label,
        labelArrow: "none",
      }),
      Plot.axisX(wholeTicks(1, layers, width), { tickSize: 0, labelArrow: "none", tickFormat: "d" }),
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

/** Draws autocorrelation by lag, between white and brown noise. */
export function autocorrelationChart({ curves, lags, white, brown }) {
  const pairs = (values) => lags.map((lag, at) => [lag, values[at]]).filter(([, value]) => Number.isFinite(value));
  const reference = (values, name, dash, dy) => [
    Plot.line(pairs(values), { stroke: "var(--line-strong)", strokeWidth: 1.6, strokeDasharray: dash }),
    Plot.text(pairs(values).slice(-1), { text: [name], textAnchor: "end", dy, fill: "var(--muted)" }),
  ];
  return responsive(el("div", { class: "chart" }), (width) =>
    picture({
      ariaLabel: "Autocorrelation of the gradient by lag, with white and brown noise for comparison",
      width,
      height: Math.max(230, Math.min(336, width * 0.6)),
      marginLeft: 40,
      marginRight: INSET.right,
      marginTop: 30,
      marginBottom: 40,
      x: { label: "lag, points along the path →" },
      y: { label: "autocorrelation of the gradient", nice: true },
      marks: [
        Plot.gridY({ ticks: 5, stroke: "var(--line)", strokeOpacity: 1 }),
        Plot.axisY({ tickSize: 0, ticks: 5, labelArrow: "none" }),
        Plot.axisX({ tickSize: 0, ticks: Math.min(lags.length, width / 60), labelArrow: "none" }),
        ...reference(white, "white noise", "2 4", -8),
        ...reference(brown, "brown noise", "7 4", 16),
        ...curves.map(({ model, values }) =>
          Plot.line(pairs(values), { stroke: model.colour, strokeWidth: 2.4, strokeDasharray: model.dash }),
        ),
      ],
    }),
  );
}

/** Draws the error in per cent by epoch, one curve per model. */
export function errorChart({ curves, highest, label }) {
  return responsive(el("div", { class: "chart" }), (width) =>
    picture({
      ariaLabel: `${label} by epoch`,
      width,
      height: Math.max(220, Math.min(300, width * 0.62)),
      marginLeft: 40,
      marginRight: INSET.right,
      marginTop: 30,
      marginBottom: 40,
      x: { label: "epoch →" },
      y: { label: `${label}, %`, domain: [0, highest] },
      marks: [
        Plot.gridY({ ticks: 5, stroke: "var(--line)", strokeOpacity: 1 }),
        Plot.axisY({ tickSize: 0, ticks: 5, labelArrow: "none" }),
        Plot.axisX({ tickSize: 0, ticks: width / 60, tickFormat: "d", labelArrow: "none" }),
        ...curves.map(({ model, points }) =>
          Plot.line(points, { stroke: model.colour, strokeWidth: 2.2, strokeDasharray: model.dash }),
        ),
      ],
    }),
  );
}

// Okabe and Ito's vermilion, white, blue, as on the server's plots.
const diverging = (value) => {
  if (!Number.isFinite(value)) return [128, 128, 128];
  const end = value < 0 ? [213, 94, 0] : [0, 114, 178];
  const strength = Math.min(1, Math.abs(value));
  return end.map((channel) => Math.round(255 + strength * (channel - 255)));
};

/** Draws a matrix of numbers from −1 to 1, one pixel per entry. */
export function matrixPicture(rows, description) {
  const canvas = el("canvas", { class: "matrix", width: rows[0].length, height: rows.length, role: "img", "aria-label": description });
  const pixels = new ImageData(rows[0].length, rows.length);
  rows.flat().forEach((value, at) => pixels.data.set([...diverging(value), 255], at * 4));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

/** Draws the colours of `matrixPicture` from −1 to 1. */
export function matrixKey() {
  const ramp = matrixPicture([d3.range(-1, 1.001, 0.02)], "Colours from −1, vermilion, over 0, white, to 1, blue");
  ramp.className = "";
  return el("div", { class: "matrix-key" }, "−1", ramp, "1");
}
