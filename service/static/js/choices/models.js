// The models that are served, and those of them that the page shows.

import { ask } from "../service/api.js";
import { assignLooks, swatch } from "../charts/looks.js";
import { byId, el } from "../elements/dom.js";
import { plural } from "../elements/numbers.js";
import { filterField } from "./filter.js";

const CHOSEN_AT_FIRST = 4;

/** Asks for every served model with its details, the default first: [{name, family, depth, detail, colour, dash}]. */
export async function served() {
  const { answer } = await ask("models");
  const times = (name) => answer.models.filter((model) => model.name === name).length;
  const models = await Promise.all(
    answer.models.map(async ({ name, version, family, depth, default: standard }) => {
      const full = times(name) > 1 ? `${name}@${version}` : name;
      const { answer: detail } = await ask(`models/${name}`, { query: [["version", times(name) > 1 ? version : null]] });
      return { name: full, family, depth, detail, standard, colour: null, dash: null };
    }),
  );
  models.sort((one, other) => other.standard - one.standard || one.depth - other.depth || one.name.localeCompare(other.name));
  return { models, provider: answer.execution_provider, refused: answer.refused, limits: answer.limits, shadow: answer.shadow };
}

/** Tells whether a model has a graph, so that what is measured with it can be shown. */
export const has = (model, graph) => graph in model.detail.graphs;

/** Lists the bundles that are not served, with the reasons. */
export function sayRefused(refused) {
  const reasons = Object.entries(refused ?? {});
  if (!reasons.length) return;
  byId("models").after(
    el(
      "details",
      { class: "refused" },
      el("summary", {}, `${reasons.length} not served`),
      el("ul", {}, reasons.map(([name, reason]) => el("li", {}, el("b", {}, name), ` ${reason}`))),
    ),
  );
}

/**
 * Makes check boxes for the models; `changed` gets the names of those that are checked, and the last one cannot be
 * unchecked. Gives the function that checks those of a list of names, or the first ones where it knows none, and
 * returns the models.
 */
export function modelChoice(models, changed) {
  const boxes = models.map((model) => el("input", { type: "checkbox", name: "model", value: model.name, change }));
  const looks = models.map(() => el("span", { class: "look" }));
  const rows = models.map((model, at) =>
    el("label", {}, boxes[at], looks[at], el("span", { class: "name" }, model.name), el("span", { class: "muted", title: model.family }, plural(model.depth, "layer"))),
  );
  const only = el("button", { type: "button", class: "button", click: chooseListed }, "Choose just those listed");
  const filter = filterField("model-filter", "models", rows);
  filter?.append(only);
  byId("models").replaceChildren(...[filter, el("div", { class: "choices" }, rows)].filter(Boolean));

  const chosen = () => models.filter((_, at) => boxes[at].checked).map(({ name }) => name);
  function change(event) {
    if (!chosen().length) event.target.checked = true;
    else changed(chosen());
  }
  function chooseListed() {
    if (rows.every(({ hidden }) => hidden)) return;
    rows.forEach((row, at) => (boxes[at].checked = !row.hidden));
    changed(chosen());
  }
  return (names) => {
    const known = models.filter(({ name }) => names.includes(name));
    const shown = known.length ? known : models.slice(0, CHOSEN_AT_FIRST);
    assignLooks(shown, models);
    models.forEach((model, at) => {
      boxes[at].checked = shown.includes(model);
      looks[at].replaceChildren(swatch(model));
    });
    byId("models-title").textContent = models.length > shown.length ? `Models (${shown.length} of ${models.length})` : "Models";
    return shown;
  };
}
