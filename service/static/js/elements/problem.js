// Shows what went wrong, in words.

import { el } from "./dom.js";
import { duration } from "./numbers.js";

/** Makes a box that says what went wrong and in which request. */
export function problemBox(problem) {
  const words = problem.detail && problem.detail !== problem.title ? ` ${problem.detail}` : "";
  const again = problem.status === 429 && problem.retryAfter ? `Try again in ${duration(problem.retryAfter)}` : null;
  const facts = [again, problem.status ? `Status ${problem.status}` : null, problem.requestId ? `request ${problem.requestId}` : null];
  return el(
    "div",
    { class: "problem", role: "alert" },
    el("b", {}, `${(problem.title ?? problem.message).replace(/\.$/, "")}.`),
    words,
    facts.some(Boolean) ? el("small", {}, facts.filter(Boolean).join(", ")) : null,
  );
}
