// The labels that a model gives the photograph, in words and as ranked labels.

import { has } from "../choices/models.js";
import { el } from "../elements/dom.js";
import { list, number, percent, sentence } from "../elements/numbers.js";

/** Says what a model sees: its best label or, where labels are independent, all that are above one half. */
export function sight({ labels: [best], predicted }) {
  if (!predicted) return `${article(best.label)}, ${percent(best.probability)}`;
  return predicted.length ? list(predicted.map(article)) : "none of the labels";
}

/** Puts a word before a label: an article, or "class" where classes are called by number. */
const article = (label) => `${/^\d+$/.test(label) ? "class" : /^[aeiou]/i.test(label) ? "an" : "a"} ${label}`;

/** Lists the labels with their probabilities, the best first; each has a button that asks why, if the model can tell. */
export function ranks(model, { predictions: [{ labels, predicted }], quantized }, askWhy) {
  // By index, for two labels may have one name.
  const after = (index) => labels.map((other) => other.index).find((other) => other !== index);
  const why = ({ label, index }) => (has(model, "explanation") ? whyButton(model, label, () => askWhy(model, index, after(index))) : null);
  return [
    el(
      "ol",
      { class: "ranks", "aria-label": `Labels by ${model.name}` },
      labels.map((entry) => rank(entry, model, predicted?.includes(entry.label), why(entry))),
    ),
    quantized ? el("p", { class: "small muted" }, sentence(quantized)) : null,
  ];
}

const whyButton = ({ name }, label, click) =>
  el("button", { type: "button", class: "why", "aria-label": `Why ${label}, by ${name}`, click }, "why?");

function rank({ label, probability }, model, isPredicted, why) {
  const bar = el("i");
  bar.style.width = `${Math.max(0.4, number(probability) * 100 || 0)}%`; // NaN is no width
  bar.style.background = model.colour;
  return el(
    "li",
    {},
    el("div", { class: "rank" }, el("span", {}, isPredicted ? `${label} ✓` : label), why, el("span", {}, percent(probability))),
    el("div", { class: "bar", "aria-hidden": "true" }, bar),
  );
}
