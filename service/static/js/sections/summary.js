// Many verdicts in one line.

import { list, plural, sentence } from "../elements/numbers.js";

const NAMED = 4; // most models that are called by name

/** Says which models are in which state, in the order of `severity`; states: [[name, state]]. */
export function summaryOf(severity, states) {
  const groups = severity.map((state) => [state, states.filter(([, one]) => one === state).map(([name]) => name)]);
  const named = (names) => (names.length > NAMED ? plural(names.length, "model") : list(names));
  return groups.filter(([, names]) => names.length).map(([state, names]) => sentence(`${state}: ${named(names)}`)).join(" ");
}
