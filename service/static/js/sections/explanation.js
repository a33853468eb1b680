// What stands behind a verdict: what it means, what to try, every finding, and what was not looked for.

import { el } from "../elements/dom.js";
import { explained } from "../elements/glossary.js";
import { plural, sentence } from "../elements/numbers.js";

export const stateBadge = (word) => el("span", { class: "state", "data-state": word }, word);

/** Makes the part of a model's row that opens: meaning and advice of the verdict, of its other findings, and notes. */
export function explanation({ verdict, unlike_itself: unlike, samples: [sample], quantized, layers }) {
  const seen = new Set();
  const worst = verdict.findings[0];
  const others = verdict.findings.slice(1);
  return el(
    "details",
    { class: "meaning", "data-explanation": true },
    el("summary", {}, verdict.state === "healthy" ? "What healthy means" : "What it means, and what to try"),
    texts(verdict, seen),
    verdict.state === "healthy" ? el("p", { class: "small" }, el("a", { href: "#shattering" }, "Look for shattered gradients"), ", on the way to a second photograph.") : null,
    worst?.layers.length ? layersOf(worst, layers.length) : null,
    others.map((finding) => el("div", { class: "also" }, el("p", {}, "Also ", stateBadge(finding.finding), ". ", explained(sentence(finding.because), seen)), texts(finding, seen))),
    unlike?.unlike ? el("div", { class: "also" }, el("p", {}, explained(sentence(unlike.because), seen)), texts(unlike, seen)) : null,
    [...notes(sample, quantized), ...verdict.not_looked_for].map((note) => el("p", { class: "small" }, explained(sentence(note), seen))),
  );
}

/** Writes meaning, advice and the link of anything that the service explains. */
export function texts({ meaning, advice, link }, seen) {
  return [
    el("p", {}, explained(sentence(meaning), seen)),
    advice.length ? el("p", { class: "try" }, "What to try, the likeliest first:") : null,
    advice.length ? el("ol", { class: "advice" }, advice.map((one) => el("li", {}, explained(sentence(one), seen)))) : null,
    el("p", { class: "small" }, el("a", { href: link }, "More in the guide")),
  ];
}

function layersOf({ layers }, all) {
  const names = layers.length > 6 ? `${layers.slice(0, 3).join(", ")}, …, ${layers.at(-1)}` : layers.join(", ");
  return el("p", { class: "small", title: layers.join(", ") }, `It concerns ${layers.length} of ${plural(all, "layer")}: ${names}.`);
}

function notes(sample, quantized) {
  const said = quantized ? [quantized] : [];
  if (sample.saturated) said.push("The network is so certain of its answer that the gradient at the logits is 0 in single precision: it is judged by the runner-up label");
  return said;
}
