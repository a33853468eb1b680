// A long list of check boxes, searched by typing.

import { el } from "../elements/dom.js";

const LONG = 8; // rows that are seen at once without searching

/** Makes a field that hides the rows without the words typed, or nothing where the list is short. */
export function filterField(id, name, rows) {
  if (rows.length <= LONG) return null;
  const count = el("span", { class: "small muted", role: "status" });
  const input = el("input", { id, type: "search", placeholder: `Search ${rows.length.toLocaleString("en")} ${name}`, "aria-label": `Search ${name}`, autocomplete: "off", input: search });
  function search() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    const left = rows.filter(({ hidden }) => !hidden).length;
    count.textContent = words.length ? `${left.toLocaleString("en")} of ${rows.length.toLocaleString("en")}` : "";
  }
  return el("div", { class: "filter" }, input, count);
}
