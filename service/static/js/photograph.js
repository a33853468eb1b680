// The photograph: dropped, chosen, pasted, or one of the samples.

import { byId, el } from "./dom.js";

export const SAMPLES = ["cat", "ship", "frog", "airplane", "dog", "truck", "bird", "horse", "deer", "automobile", "horse2", "deer2"];
const TINY = 96; // pixels; a picture this small is enlarged without smoothing

/** Fetches a sample as a photograph: {name, blob, url}. */
export async function sample(name) {
  const url = new URL(`static/samples/${name}.jpg`, document.baseURI).href;
  return { name: `${name}.jpg`, url, blob: await (await fetch(url)).blob() };
}

const spoken = (name) => name.replace(/2$/, ", another");

/** Makes a row of samples that act as buttons; `chosen` gets the name. Gives the function that marks one as pressed. */
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

/** Makes a field take a photograph that is dropped or chosen; `taken` gets it. Gives the function that takes files. */
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

/** Shows the pixels of a picture that has few of them. */
export function showPixels(picture) {
  picture.classList.toggle("tiny", picture.naturalWidth <= TINY);
}

/** Shows the photograph in its field, or empties the field if the file is no picture. */
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

/** Makes the main field take photographs, also from the clipboard. */
export function mainField(taken) {
  const take = dropField(byId("drop"), byId("file"), taken);
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
}
