// The photograph: dropped, chosen, pasted, or one of the samples.

import { byId } from "../elements/dom.js";

const TINY = 96; // pixels; a picture this small is enlarged without smoothing

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
    field.querySelector("b").textContent = visible ? "Choose another" : "Drop a photograph";
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
