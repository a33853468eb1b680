// The labels for which the loss is computed whose gradient the page shows.

import { byId, dropDown, el } from "../elements/dom.js";
import { plural } from "../elements/numbers.js";
import { filterField } from "./filter.js";

const FEW = 20; // labels that a list can show at once
const OFFERED_NEAR = 3; // labels that are offered in place of one that does not exist

/**
 * Makes the control that chooses the labels of the loss; `changed` gets a list, which is empty for those predicted.
 *
 * Gives the function that fits it to the models shown: it offers the labels that all of them have, several at once
 * where the labels of all are independent, and returns those of the `wanted` ones that can be chosen.
 */
export function labelChoice(changed) {
  let shown = ""; // says what the control shows: only where it must show something else is a new one made, without focus
  return (models, wanted) => {
    const details = models.map(({ detail }) => detail);
    const sets = details.slice(1).map(({ labels }) => new Set(labels));
    const offered = [...new Set(details[0].labels)].filter((label) => sets.every((labels) => labels.has(label)));
    const kinds = new Set(details.map(({ label_kind: kind }) => kind));
    const several = kinds.size === 1 && kinds.has("independent");
    const known = new Set(offered);
    const chosen = wanted.filter((label) => known.has(label)).slice(0, several ? offered.length : 1);
    const predicted = predictedName(several, models);
    const saying = (labels) => JSON.stringify([offered, several, predicted, labels]);
    if (saying(chosen) !== shown) {
      shown = saying(chosen);
      const change = (labels) => {
        shown = saying(labels);
        changed(labels);
      };
      byId("label-choice").replaceChildren(control(offered, several, predicted, chosen, change));
    }
    return chosen;
  };
}

function predictedName(several, models) {
  if (several) return "the labels above one half";
  return models.length > 1 ? "what each model predicts" : "the predicted class";
}

function control(offered, several, predicted, chosen, changed) {
  if (!offered.length) {
    return el("p", { class: "small muted" }, `The gradient is of the loss for ${predicted}: the chosen models have no label in common.`);
  }
  if (several) return anyOf(offered, predicted, chosen, changed);
  return (offered.length > FEW ? searched : oneOf)(offered, predicted, chosen, changed);
}

function oneOf(offered, predicted, [chosen = ""], changed) {
  const options = [["", predicted], ...offered.map((label) => [label, label])];
  return dropDown("label", "Gradient of the loss for", options, chosen, (label) => changed(label === "" ? [] : [label]));
}

/** Makes a field that is typed into, with the labels offered that fit what is typed. */
function searched(offered, predicted, [chosen = ""], changed) {
  const refusal = el("p", { class: "small refusal", id: "label-refusal", role: "alert" });
  const input = el("input", {
    id: "label",
    type: "search",
    list: "label-names",
    value: chosen,
    placeholder: predicted,
    autocomplete: "off",
    "aria-describedby": "label-refusal",
    change,
  });
  function change() {
    const typed = input.value.trim();
    const found = offered.find((label) => label === typed) ?? offered.find((label) => label.toLowerCase() === typed.toLowerCase());
    input.setAttribute("aria-invalid", Boolean(typed && !found));
    refusal.textContent = typed && !found ? unknown(typed, offered) : "";
    if (found) input.value = found;
    if (found || !typed) changed(found ? [found] : []);
  }
  return el(
    "div",
    { class: "field" },
    el("label", { for: "label" }, `Gradient of the loss for one of ${plural(offered.length, "label")}`),
    input,
    el("datalist", { id: "label-names" }, offered.map((label) => el("option", { value: label }))),
    refusal,
  );
}

function unknown(typed, offered) {
  const near = offered.filter((label) => label.toLowerCase().includes(typed.toLowerCase())).slice(0, OFFERED_NEAR);
  return `No label is called “${typed}”.${near.length ? ` There is ${near.map((label) => `“${label}”`).join(", ")}.` : ""}`;
}

function anyOf(offered, predicted, chosen, changed) {
  const change = () => changed(boxes.filter(({ checked }) => checked).map(({ value }) => value));
  const boxes = offered.map((value) => el("input", { type: "checkbox", name: "label", value, checked: chosen.includes(value), change }));
  const rows = offered.map((label, at) => el("label", {}, boxes[at], label));
  return el(
    "fieldset",
    { class: "field" },
    el("legend", {}, `Gradient of the loss for ${predicted}, or for those checked`),
    filterField("label-filter", "labels", rows),
    el("div", { class: "choices" }, rows),
  );
}
