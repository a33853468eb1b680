// The view of each layer: its strongest channels as pictures, and the pixels that move the loss.

import { answerAndPlot, ask, showProgress } from "../service/api.js";
import { showPixels } from "../choices/photograph.js";
import { commands } from "../elements/commands.js";
import { dropDown, el, section } from "../elements/dom.js";
import { explained } from "../elements/glossary.js";
import { percent, plural, sentence, short } from "../elements/numbers.js";
import { problemBox } from "../elements/problem.js";

const { root, controls, finding, body, footer, clear } = section("features");
export { clear };
const CHANNELS = 8; // pictures per layer
const ROWS = 6; // layers shown at once, spread over the depth

let offered = ""; // models in the control: only for others is a new one made, without focus

/** Makes the control that chooses one of the models, `chosen` at first; `changed` gets the name of another one. */
export function featureChoice(models, chosen, changed) {
  root.hidden = false;
  const select = controls.querySelector("select");
  const names = JSON.stringify(models.map(({ name }) => name));
  if (select?.value === chosen && names === offered) return;
  offered = names;
  const choice = dropDown("features-model", "Model", models.map(({ name }) => [name, name]), chosen, changed);
  controls.replaceChildren(models.length > 1 ? el("div", { class: "control-row" }, choice) : "");
}

/** Shows what the layers of a model make of the photograph. */
export async function showFeatures(name, photograph, labels, signal) {
  const request = ["diagnostics/features", { query: [["model", name], ...labels.map((label) => ["label", label]), ["channels", CHANNELS]], images: [photograph] }];
  try {
    const { answer } = await showProgress(root, ask(...request, signal));
    const [seen] = answer.samples;
    const said = [conclusion(name, seen), answer.separability?.because, answer.quantized].filter(Boolean).map(sentence).join(" ");
    finding.replaceChildren(...explained(said));
    body.replaceChildren(drawn(seen, photograph));
  } catch (problem) {
    if (signal.aborted) return;
    finding.textContent = "";
    body.replaceChildren(problemBox(problem));
  }
  footer.replaceChildren(commands(answerAndPlot(...request)));
}

/** Tells whether a layer's channels are pictures; the classifier's are single numbers. */
const isPicture = ({ channels, height, width }) => channels.length && height * width > 1;

function conclusion(name, { layers }) {
  const pictures = layers.filter(isPicture);
  if (!pictures.length) return `No layer of ${name} has maps, so there are no pictures of its channels.`;
  const [first, last] = [pictures[0], pictures.at(-1)];
  return `From ${first.height} × ${first.width} edges and colours to ${last.height} × ${last.width} parts: the strongest channels of ${name}, brightest where they respond.`;
}

function drawn({ layers, saliency }, photograph) {
  const rows = layers.filter(isPicture).map(layerRow);
  const every = Math.max(1, (rows.length - 1) / (ROWS - 1));
  const shown = new Set(Array.from({ length: ROWS }, (_, at) => Math.min(rows.length - 1, Math.round(at * every))));
  const rest = rows.filter((_, at) => !shown.has(at));
  return el(
    "div",
    { class: "see" },
    el("div", { class: "looked-at" }, lookedAt(photograph, saliency)),
    el(
      "div",
      { class: "layers" },
      rows.filter((_, at) => shown.has(at)),
      rest.length ? el("details", {}, el("summary", {}, `The other ${plural(rest.length, "layer")}`), el("div", { class: "layers" }, rest)) : null,
    ),
  );
}

function lookedAt(photograph, saliency) {
  const picture = (source, alt, caption) =>
    el(
      "figure",
      {},
      el("figcaption", {}, caption),
      el("div", { class: "overlay" }, el("img", { src: source, alt, load: (event) => showPixels(event.target) })),
    );
  return [
    picture(photograph.url, `Your photograph, ${photograph.name}`, "The photograph"),
    saliency ? picture(saliency.picture, "Saliency: brighter pixels move the loss more", "Pixels that move the loss") : null,
  ];
}

function layerRow({ name: layer, height, width, zero_share: zeros, separability, channels }) {
  const facts = [`${height} × ${width}`, `${percent(zeros)} zeros`];
  if (separability !== null) facts.push(`separates ${percent(separability)}`);
  return el(
    "article",
    { "data-layer": layer },
    el("h3", {}, layer, " ", el("span", { class: "facts" }, facts.join(", "))),
    el(
      "div",
      { class: "pictures" },
      channels.map(({ channel, peak, picture }) =>
        el("img", { src: picture, alt: `Channel ${channel}, largest value ${short(peak)}`, title: `Channel ${channel}, largest value ${short(peak)}` }),
      ),
    ),
  );
}
