// Curves over lags and over epochs.

import { el } from "../elements/dom.js";
import { INSET, picture, responsive, wholeTicks } from "./frame.js";

/** Draws autocorrelation by lag, between white and brown noise. */
export function autocorrelationChart({ curves, lags, label, white, brown }) {
  const pairs = (values, at = lags) => at.map((lag, index) => [lag, values[index]]).filter(([, value]) => Number.isFinite(value));
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
      x: { label },
      y: { label: "autocorrelation of the gradient", nice: true },
      marks: [
        Plot.gridY({ ticks: 5, stroke: "var(--line)", strokeOpacity: 1 }),
        Plot.axisY({ tickSize: 0, ticks: 5, labelArrow: "none" }),
        Plot.axisX({ tickSize: 0, ticks: Math.min(lags.length, width / 60), labelArrow: "none" }),
        ...reference(white, "white noise", "2 4", -8),
        ...reference(brown, "brown noise", "7 4", 16),
        ...curves.map(({ model, lags: own, values }) =>
          Plot.line(pairs(values, own), { stroke: model.colour, strokeWidth: 2.4, strokeDasharray: model.dash }),
        ),
      ],
    }),
  );
}

/** Draws the error in per cent by epoch, one curve per model. */
export function errorChart({ curves, highest, label }) {
  const last = Math.max(2, ...curves.flatMap(({ points }) => points.map(([epoch]) => epoch)));
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
        Plot.axisX(wholeTicks(1, last, width), { tickSize: 0, tickFormat: "d", labelArrow: "none" }),
        ...curves.map(({ model, points }) =>
          Plot.line(points, { stroke: model.colour, strokeWidth: 2.2, strokeDasharray: model.dash }),
        ),
      ],
    }),
  );
}
