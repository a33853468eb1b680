// The part behind a verdict: what it means, what to try, every finding, and what was not looked for.

import { has } from "../choices/models.js";
import { el } from "../elements/dom.js";
import { explained } from "../elements/glossary.js";
import { plural, sentence } from "../elements/numbers.js";

export const stateBadge = (word) => el("span", { class: "state", "data-state": word }, word);

/** Makes the part of a model's row that opens: meaning and advice of the verdict, its other findings, and notes. */
export function explanation(model, answer) {
  const { verdict, unlike_itself: unlike } = answer;
  const seen = new Set();
  return el(
    "details",
    { class: "meaning", "data-explanation": true },
    el("summary", {}, verdict.state === "healthy" ? "What healthy means" : "What it means, and what to try"),
    texts(verdict, seen),
    verdict.state === "healthy" && has(model, "input_gradient") ? shatteringToo() : null,
    verdict.findings.slice(1).map((finding) => also(finding.finding, finding)),
    unlike?.unlike ? also("unlike itself", unlike) : null,
    [...notes(model, answer), ...verdict.not_looked_for, ...Object.values(verdict.does_not_apply)].map((note) => el("p", { class: "small" }, explained(sentence(note), seen))),
  );
}

/** Makes the part for a finding beside the worst one, which opens by itself. */
function also(state, finding) {
  const seen = new Set();
  const because = el("p", {}, explained(sentence(finding.because), seen));
  return el("details", { class: "also" }, el("summary", {}, "Also ", stateBadge(state)), because, texts(finding, seen));
}

const shatteringToo = () => el("p", { class: "small" }, el("a", { href: "#shattering" }, "Look for shattered gradients"), ", on the way to a second photograph.");

/** Writes meaning, advice and the link of anything that the service explains. */
export function texts({ meaning, advice, link }, seen) {
  return [
    el("p", {}, explained(sentence(meaning), seen)),
    advice.length ? el("p", { class: "try" }, "What to try, the likeliest first:") : null,
    advice.length ? el("ol", { class: "advice" }, advice.map((one) => el("li", {}, explained(sentence(one), seen)))) : null,
    el("p", { class: "small" }, el("a", { href: link }, "More in the guide")),
  ];
}

function notes({ detail }, { samples: [sample], quantized, layers, verdict }) {
  const said = quantized ? [quantized] : [];
  if (sample.saturated) {
    said.push("The network is so certain of its answer that the gradient at the logits is 0 in single precision: it is judged by the runner-up label");
  }
  const recorded = Object.keys(detail.baseline?.dead_fraction ?? {}).length > 0;
  if (recorded && layers.every(({ dead_fraction: measured }) => measured === null) && verdict.state !== "not finite") {
    said.push(`Which channels are dead is known from the ${plural(detail.baseline.images, "training image")} on the model's record: one photograph is too few`);
  }
  return said;
}
