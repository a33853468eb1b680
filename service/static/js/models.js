// What is served, and which of it the page shows.

import { ask } from "./api.js";
import { byId, el } from "./dom.js";
import { assignLooks, swatch } from "./looks.js";

const AT_FIRST = 4; // models shown side by side before anyone chooses

/** Every served model with its details, the default first: [{name, family, depth, detail, colour, dash}]. */
export async function served() {
  const { answer } = await ask("models");
  const details = await Promise.all(answer.models.map(({ name }) => ask(`models/${encodeURIComponent(name)}`)));
  const models = details.map(({ answer: detail }) => ({
    name: detail.name,
    family: detail.architecture.family,
    depth: detail.architecture.depth,
    detail,
  }));
  models.sort((one, other) => rank(one, answer) - rank(other, answer) || one.depth - other.depth || one.name.localeCompare(other.name));
  assignLooks(models);
  return { models, provider: answer.execution_provider, refused: answer.refused ?? [] };
}

const rank = (model, answer) => (model.name === (answer.default ?? answer.default_model) ? 0 : 1);

/** Check boxes for the models; `changed` gets those that are checked, never none. */
export function modelChoice(models, changed) {
  const boxes = models.map((model, at) =>
    el("input", { type: "checkbox", name: "model", value: model.name, checked: at < AT_FIRST, change }),
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

/** The list of classes that a gradient can be taken for: the labels of the first model. */
export function labelChoice(models, changed) {
  const select = byId("label");
  const labels = models[0].detail.labels ?? [];
  select.append(...labels.map((label) => el("option", { value: label }, label)));
  select.addEventListener("change", () => changed(select.value));
}
