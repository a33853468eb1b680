// Which models are served, and which of them the page shows.

import { ask } from "./api.js";
import { byId, el } from "./dom.js";
import { assignLooks, swatch } from "./looks.js";

const CHECKED_AT_FIRST = 4;

/** Asks for every served model with its details, the default first: [{name, family, depth, detail, colour, dash}]. */
export async function served() {
  const { answer } = await ask("models");
  const times = (name) => answer.models.filter((model) => model.name === name).length;
  const models = await Promise.all(
    answer.models.map(async ({ name, version, family, depth, default: standard }) => {
      const full = times(name) > 1 ? `${name}@${version}` : name;
      const { answer: detail } = await ask(`models/${name}`, { query: [["version", times(name) > 1 ? version : null]] });
      return { name: full, family, depth, detail, standard };
    }),
  );
  models.sort((one, other) => other.standard - one.standard || one.depth - other.depth || one.name.localeCompare(other.name));
  assignLooks(models);
  return { models, provider: answer.execution_provider, refused: answer.refused };
}

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

/** Makes check boxes for the models; `changed` gets those that are checked, and the last one cannot be unchecked. */
export function modelChoice(models, changed) {
  const boxes = models.map((model, at) =>
    el("input", { type: "checkbox", name: "model", value: model.name, checked: at < CHECKED_AT_FIRST, change }),
  );
  const chosen = () => models.filter((_, at) => boxes[at].checked);
  function change(event) {
    if (!chosen().length) event.target.checked = true;
    else changed(chosen());
  }
  byId("models").replaceChildren(
    ...models.map((model, at) =>
      el(
        "label",
        {},
        boxes[at],
        swatch(model),
        model.name,
        el("span", { class: "muted" }, `${model.family}, ${model.depth} layers`),
      ),
    ),
  );
  return chosen();
}

/** Fills the list of classes whose loss can be differentiated: the labels of the first model. */
export function labelChoice(models, changed) {
  const select = byId("label");
  const { labels = [], label_kind: kind } = models[0].detail;
  if (kind === "independent") select.options[0].textContent = "the labels above one half";
  select.append(...labels.map((label) => el("option", { value: label }, label)));
  select.addEventListener("change", () => changed(select.value));
}
