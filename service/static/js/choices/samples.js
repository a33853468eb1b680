// The samples of the page: small pictures of CIFAR-10's classes.

import { el } from "../elements/dom.js";
import { list } from "../elements/numbers.js";
import { Problem } from "../service/api.js";

export const SAMPLES = ["bird", "ship", "frog", "airplane", "dog", "truck", "cat", "horse", "deer", "automobile", "horse2", "deer2"];
const SIDE = 32; // pixels

const labelOf = (name) => name.replace(/\d$/, "");
const spoken = (name) => name.replace(/2$/, ", another");

/** Fetches a sample as a photograph: {name, blob, url}. Throws Problem. */
export async function sample(name) {
  const url = new URL(`static/samples/${name}.jpg`, document.baseURI).href;
  const answer = await fetch(url).catch(() => null);
  if (!answer?.ok) throw new Problem({ title: "No answer", detail: "The sample cannot be fetched. Is the service running?" });
  return { name: `${name}.jpg`, url, blob: await answer.blob() };
}

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

/** Says for which of the models the samples are a poor choice, and why; null where they fit all. */
export function unfit(models) {
  const strangers = models.filter(({ detail }) => !SAMPLES.every((name) => detail.labels.includes(labelOf(name))));
  const larger = models.filter(({ detail: { input } }) => Math.min(input.height, input.width) > 2 * SIDE);
  const said = [];
  if (larger.length) {
    const sizes = [...new Set(larger.map(({ detail: { input } }) => `${input.width} × ${input.height}`))];
    said.push(`The samples have ${SIDE} × ${SIDE} pixels, and are enlarged to ${list(sizes)} for ${named(larger)}`);
  }
  if (strangers.length) said.push(`${said.length ? "not" : "Not"} all of what they show is among the labels of ${named(strangers)}`);
  if (!said.length) return null;
  return `${said.join("; ")}. A photograph of your own tells more.`;
}

const named = (models) => (models.length > 3 ? `${models.length} of the models` : list(models.map(({ name }) => name)));
