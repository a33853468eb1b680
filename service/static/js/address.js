// The view in the address: an address that is sent to somebody else shows them the same.

let known = location.search; // as last read or written

/**
 * Reads what the address asks for: {models, labels, sample, second, quantity, layer, inside}, each null or empty where the
 * address does not say. `layer` counts from 1.
 */
export function readAddress() {
  const query = new URLSearchParams(location.search);
  return {
    models: query.getAll("model"),
    labels: query.getAll("label"),
    sample: query.get("sample"),
    second: query.get("second"),
    quantity: query.get("quantity"),
    layer: Math.max(1, Math.trunc(Number(query.get("layer"))) || 1),
    inside: query.get("inside"),
  };
}

/** Writes what is shown into the address; with `replace`, the browser's button "back" skips what was shown before. */
export function writeAddress({ models, labels, sample, second, quantity, layer, inside }, { replace = false } = {}) {
  const query = new URLSearchParams();
  for (const name of models) query.append("model", name);
  for (const label of labels) query.append("label", label);
  for (const [name, value] of Object.entries({ sample, second, quantity, inside })) if (value) query.set(name, value);
  if (layer > 1) query.set("layer", layer);
  const address = `${location.pathname}?${query}`;
  if (address === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  known = location.search;
}

/** Calls `show` with what the address asks for when the visitor goes back or forward. */
export function followAddress(show) {
  window.addEventListener("popstate", () => {
    if (location.search === known) return; // a link within the page changes the fragment alone
    known = location.search;
    show(readAddress());
  });
}
