// Which models are served, and which of them the page shows.

import { ask } from "./api.js";
import { byId, dropDown, el } from "./dom.js";
import { assignLooks, swatch } from "./looks.js";
import { plural } from "./numbers.js";

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
        el("span", { class: "muted" }, `${model.family}, ${plural(model.depth, "layer")}`),
      ),
    ),
  );
  return chosen();
}

/**
 * Makes the control that chooses the labels of the loss; `changed` gets a list, which is empty for those predicted. Gives
 * the function that fits it to the models shown: it offers the labels that all of them have, several at once where the
 * labels of all are independent, and returns those that stay chosen.
 */
export function labelChoice(changed) {
  let chosen = [];
  const choose = (labels) => {
    chosen = labels;
    changed(labels);
  };
  return (models) => {
    const details = models.map(({ detail }) => detail);
    const offered = details[0].labels.filter((label) => details.every(({ labels }) => labels.includes(label)));
    const kinds = new Set(details.map(({ label_kind: kind }) => kind));
    const several = kinds.size === 1 && kinds.has("independent");
    chosen = chosen.filter((label) => offered.includes(label)).slice(0, several ? offered.length : 1);
    const predicted = several ? "the labels above one half" : kinds.size > 1 ? "what each model predicts" : "the predicted class";
    byId("label-choice").replaceChildren((several ? anyOf : oneOf)(offered, predicted, chosen, choose));
    return chosen;
  };
}

function oneOf(offered, predicted, [chosen = ""], choose) {
  const options = [["", predicted], ...offered.map((label) => [label, label])];
  return dropDown("label", "Gradient of the loss for", options, chosen, (label) => choose(label === "" ? [] : [label]));
}

function anyOf(offered, predicted, chosen, choose) {
  const change = () => choose(boxes.filter(({ checked }) => checked).map(({ value }) => value));
  const boxes = offered.map((value) => el("input", { type: "checkbox", name: "label", value, checked: chosen.includes(value), change }));
  return el(
    "fieldset",
    { class: "field" },
    el("legend", {}, `Gradient of the loss for ${predicted}, or for those checked`),
    el("div", { class: "choices" }, offered.map((label, at) => el("label", {}, boxes[at], label))),
  );
}
