// Builds elements without markup strings, so that a label or a file name is never read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** Makes an HTML element. Attributes that are null or false are left out; functions become listeners. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Makes an SVG element in the same way. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/**
 * Finds the parts that every section of the page has; `clear` empties and hides it, where it has nothing to say. A
 * section shows itself when it has.
 */
export function section(id) {
  const root = byId(id);
  const part = (name) => root.querySelector(`[data-${name}]`);
  const [finding, controls, body, footer] = ["finding", "controls", "body", "footer"].map(part);
  const clear = () => {
    [finding, body, footer].forEach((emptied) => emptied.replaceChildren());
    root.hidden = true;
  };
  return { root, finding, controls, body, footer, clear };
}

/** Makes a row of radio buttons; `change` gets the value chosen. */
export function segments(name, legend, options, chosen, change) {
  return el(
    "div",
    { class: "control", role: "radiogroup", "aria-label": legend },
    el("span", { "aria-hidden": "true" }, legend),
    el(
      "div",
      { class: "segments" },
      options.map(([value, text]) =>
        el(
          "label",
          {},
          el("input", {
            type: "radio",
            class: "visually-hidden",
            name,
            value,
            checked: value === chosen,
            change: () => change(value),
          }),
          el("span", {}, text),
        ),
      ),
    ),
  );
}

/** Makes a drop-down list; `change` gets the value chosen. */
export function dropDown(id, legend, options, chosen, change) {
  const select = el(
    "select",
    { id, change: () => change(select.value) },
    options.map(([value, text]) => el("option", { value, selected: value === chosen }, text)),
  );
  return el("div", { class: "field control" }, el("label", { for: id }, legend), select);
}

/** Makes a part that scrolls sideways, and up and down when `tall`. It takes the focus, so that the arrow keys scroll it. */
export function scrollable(name, content, tall = false) {
  return el("div", { class: tall ? "scroll tall" : "scroll", role: "region", "aria-label": name, tabindex: 0 }, content);
}

/** Lets screen readers speak a text. */
export function say(text) {
  byId("status").textContent = text;
}
