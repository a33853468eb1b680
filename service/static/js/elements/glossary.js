// Terms of the field, explained where they stand: under a pointer, at the focus, at a touch.

import { ask } from "../service/api.js";
import { el } from "./dom.js";

const GAP = 8; // pixels between a term and its explanation
const LINGER = 150; // milliseconds for the pointer to reach the explanation

const meanings = new Map();
let pattern = null;
let leaving = 0;
let shown = null; // the term that is explained

/** Asks for the glossary of the service. Without it, no term is explained, and the page works as well. */
export async function loadGlossary() {
  const { answer } = await ask("docs/glossary").catch(() => ({ answer: { terms: {} } }));
  for (const [term, meaning] of Object.entries(answer.terms)) meanings.set(term.toLowerCase(), meaning);
  const terms = [...meanings.keys()].sort((one, other) => other.length - one.length).map(literal);
  pattern = terms.length ? new RegExp(`(?<![\\p{L}\\p{N}_-])(${terms.join("|")})(s?)(?![\\p{L}\\p{N}_-])`, "giu") : null;
}

const literal = (term) => term.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&").replace(/ /g, "\\s");

/**
 * Gives a text as children for `el`: what stands between backticks as code, and each term of the glossary explained where
 * it first stands.
 *
 * seen: terms that were explained before; texts that stand close together share it.
 */
export function explained(text, seen = new Set()) {
  return text.split("`").flatMap((part, at) => (at % 2 ? el("code", {}, part) : withTerms(part, seen)));
}

function withTerms(text, seen) {
  const parts = [];
  let from = 0;
  for (const found of pattern ? text.matchAll(pattern) : []) {
    const term = found[1].toLowerCase().replace(/\s/g, " ");
    if (seen.has(term)) continue;
    seen.add(term);
    parts.push(text.slice(from, found.index), termIn(found[0], meanings.get(term)));
    from = found.index + found[0].length;
  }
  return [...parts, text.slice(from)];
}

const tip = el("div", { id: "tip", class: "tip", role: "tooltip", hidden: true, pointerenter: stay, pointerleave: leave });
document.body.append(tip);
document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
document.addEventListener("pointerdown", (event) => tip.contains(event.target) || hide()); // a touch beside a term
document.addEventListener("scroll", place, { passive: true, capture: true });

// A button would not break at the end of a line, so a term is a part of the text that takes the focus.
function termIn(word, meaning) {
  const show = () => showTip(term, meaning);
  const term = el(
    "span",
    { class: "term", role: "button", tabindex: 0, "aria-describedby": "tip", pointerenter: show, pointerleave: leave, focus: show, blur: hide, click: show },
    word,
  );
  return term;
}

function showTip(term, meaning) {
  stay();
  shown = term;
  tip.textContent = meaning;
  tip.hidden = false;
  place();
}

/** Puts the explanation below its term, or above it where there is no room; it follows when the page scrolls. */
function place() {
  if (!shown) return;
  const { left, top, bottom } = shown.getClientRects()[0] ?? { bottom: -1 };
  if (bottom < 0 || top > window.innerHeight) return hide();
  const { width, height } = tip.getBoundingClientRect();
  const right = document.documentElement.clientWidth - GAP;
  const below = bottom + GAP + height < window.innerHeight || top < height + GAP;
  tip.style.left = `${Math.max(GAP, Math.min(left, right - width))}px`;
  tip.style.top = `${below ? bottom + GAP : top - GAP - height}px`;
}

function stay() {
  clearTimeout(leaving);
}

function leave() {
  stay();
  leaving = setTimeout(hide, LINGER);
}

function hide() {
  stay();
  shown = null;
  tip.hidden = true;
}
