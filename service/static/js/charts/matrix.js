// Pictures of matrices whose numbers lie between −1 and 1.

import { el } from "../elements/dom.js";

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
