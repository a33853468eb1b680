// The colours of evidence, from one end to the other, and what the ends mean. They are those of the service's pictures.

import { el } from "../elements/dom.js";

const ENDS = {
  grad_cam: () => ["no evidence", "most"],
  smooth_grad: () => ["not sensitive", "most"],
  integrated_gradients: (label) => [`against ${label}`, `for ${label}`],
  input_x_gradient: (label) => [`against ${label}`, `for ${label}`],
};
const SIGNED = ["integrated_gradients", "input_x_gradient"];

/** Makes the key of a map. */
export function key(method, label) {
  const [low, high] = ENDS[method](label);
  return el(
    "div",
    { class: "evidence-key" },
    el("i", { "data-signed": SIGNED.includes(method), "aria-hidden": "true" }),
    el("span", {}, low),
    el("span", {}, high),
  );
}
