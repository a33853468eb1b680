// The photograph: dropped, chosen, pasted, or one of the samples.

import { byId, el } from "./dom.js";

export const SAMPLES = ["cat", "ship", "frog", "airplane", "dog", "truck", "bird", "horse", "deer", "automobile", "horse2", "deer2"];
const TINY = 96; // pixels: shown as they are, not blurred up

/** A sample as a file: {name, blob, url}. */
export async function sample(name) {
  const url = new URL(`static/samples/${name}.jpg`, document.baseURI).href;
  return { name: `${name}.jpg`, url, blob: await (await fetch(url)).blob() };
}

const spoken = (name) => name.replace(/2$/, ", another");

/** A row of samples that act like buttons; `chosen` is called with the name. */
export function sampleButtons(holder, chosen) {
  const buttons = SAMPLES.map((name) =>
    el(
      "button",
      { type: "button", "aria-pressed": "false", title: spoken(name), "data-sample": name, click: () => chosen(name) },
      el("img", { src: `static/samples/${name}.jpg`, alt: `Sample: ${spoken(name)}`, width: 48, height: 48 }),
    ),
  );
  holder.replaceChildren(...buttons);
  return (name) => buttons.forEach((button) => button.setAttribute("aria-pressed", button.dataset.sample === name));
}

/** A field that takes a photograph by dropping or choosing it. */
export function dropField(field, input, taken) {
  const take = (files) => {
    const file = files?.[0];
    if (file) taken({ name: file.name || "pasted.png", blob: file, url: URL.createObjectURL(file) });
  };
  input.addEventListener("change", () => {
    take(input.files);
    input.value = ""; // the same file may be chosen again
  });
  for (const type of ["dragenter", "dragover"]) {
    field.addEventListener(type, (event) => {
      event.preventDefault();
      field.classList.add("over");
    });
  }
  for (const type of ["dragleave", "drop"]) field.addEventListener(type, () => field.classList.remove("over"));
  field.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });
  return take;
}

/** A picture of few pixels is shown as such. */
export function showPixels(picture) {
  picture.classList.toggle("tiny", picture.naturalWidth <= TINY);
}

/** Shows the photograph in its field; a file that is no picture leaves the field empty. */
export function preview(field, picture, photograph) {
  const show = (visible) => {
    picture.hidden = !visible;
    field.classList.toggle("filled", visible);
  };
  picture.onload = () => {
    showPixels(picture);
    show(true);
  };
  picture.onerror = () => show(false);
  picture.alt = `Your photograph, ${photograph.name}`;
  picture.src = photograph.url;
}

/** Makes the main field work, with pasting from the clipboard. */
export function mainField(taken) {
  const take = dropField(byId("drop"), byId("file"), taken);
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
}
