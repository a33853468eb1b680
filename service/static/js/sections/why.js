// Why a label: where in the photograph the evidence for it lies, beside the evidence for another label.

import { answerAndPlot, ask, showProgress } from "../service/api.js";
import { key } from "../charts/evidence_key.js";
import { showPixels } from "../choices/photograph.js";
import { commands } from "../elements/commands.js";
import { dropDown, el, say, section } from "../elements/dom.js";
import { explained } from "../elements/glossary.js";
import { percent, sentence } from "../elements/numbers.js";
import { problemBox } from "../elements/problem.js";

const { root, controls, finding, body, footer, clear: empty } = section("why");

const METHODS = [
  ["grad_cam", "Grad-CAM: the map of a layer"],
  ["integrated_gradients", "Integrated gradients: every pixel's part"],
  ["smooth_grad", "SmoothGrad: sensitive pixels"],
  ["input_x_gradient", "Input × gradient: one gradient"],
];
const NOTHING = ""; // the choice of no second label, and of the last layer

let asked = null; // what is shown: {model, label, beside, method, layer}, labels by index; null before a visitor asks why
let pictures = []; // addresses of the pictures shown

/** Takes up the question why a model gives a label; `beside` is the label that stands next to it, or undefined. Both by index. */
export function choose(model, label, beside = NOTHING) {
  asked = { method: METHODS[0][0], layer: NOTHING, ...asked, model: model.name, label: String(label), beside: String(beside) };
  if (!layersOf(model).includes(asked.layer)) asked.layer = NOTHING;
  if (!methodsOf(model).some(([name]) => name === asked.method)) [[asked.method]] = methodsOf(model);
}

/** Empties and hides the section; what was asked is forgotten. */
export function clear() {
  asked = null;
  forget();
  empty();
}

/** Moves the eye and the focus to the section. */
export function goThere() {
  root.querySelector("h2").focus({ preventScroll: true });
  root.scrollIntoView({ block: "start" });
}

/** Shows the evidence, if a visitor has asked for it; `again` is called when he chooses otherwise. */
export async function show(models, photograph, signal, again) {
  const model = models.find(({ name }) => name === asked?.model);
  if (!model) return clear();
  root.hidden = false;
  makeControls(model, again);
  const labels = [asked.label, asked.beside].filter((label) => label !== NOTHING);
  try {
    const found = await showProgress(root, Promise.all(labels.map((label) => evidenceFor(model, label, photograph, signal))));
    if (signal.aborted) return;
    forget();
    pictures = found.map(({ url }) => url);
    showFound(model, found, photograph);
  } catch (problem) {
    if (signal.aborted) return;
    finding.textContent = "";
    body.replaceChildren(problemBox(problem));
    say(problem.message);
  }
  footer.replaceChildren(commands(answerAndPlot(...request(model, asked.label, photograph))));
}

function request(model, label, photograph, format = null) {
  const layer = asked.method === "grad_cam" ? asked.layer : NOTHING;
  const query = [["model", model.name], ["label", label], ["method", asked.method], ["layer", layer], ["format", format]];
  return ["diagnostics/explain", { query, images: [photograph] }];
}

/** Asks for the evidence for one label in words, and as a picture. */
async function evidenceFor(model, label, photograph, signal) {
  const [{ answer }, { answer: picture }] = await Promise.all([
    ask(...request(model, label, photograph), signal),
    ask(...request(model, label, photograph, "png"), signal),
  ]);
  return { answer, url: URL.createObjectURL(picture) };
}

function forget() {
  pictures.forEach((url) => URL.revokeObjectURL(url));
  pictures = [];
}

/** Grad-CAM needs a layer with a map. */
const methodsOf = (model) => (layersOf(model).length ? METHODS : METHODS.slice(1));
const layersOf = ({ detail }) => detail.layers.filter(({ map_size: size }) => size).map(({ name }) => name);

function makeControls(model, again) {
  const change = (part) => (value) => {
    asked[part] = value;
    if (asked.beside === asked.label) asked.beside = NOTHING;
    again();
  };
  const { labels } = model.detail;
  const layers = layersOf(model).reverse();
  const focused = document.activeElement?.id;
  const named = (names) => names.map((name) => [name, name]);
  const last = `${layers[0]}, the last`;
  const all = labels.map((name, index) => [String(index), name]);
  const choices = [
    dropDown("why-label", `Label of ${model.name}`, all, asked.label, change("label")),
    dropDown("why-beside", "Beside it", [[NOTHING, "nothing"], ...all.filter(([index]) => index !== asked.label)], asked.beside, change("beside")),
    dropDown("why-method", "Method", methodsOf(model), asked.method, change("method")),
    asked.method === "grad_cam" ? dropDown("why-layer", "Layer", [[NOTHING, last], ...named(layers.slice(1))], asked.layer, change("layer")) : null,
  ];
  controls.replaceChildren(el("div", { class: "control-row" }, choices));
  if (focused?.startsWith("why-")) document.getElementById(focused)?.focus();
}

function showFound(model, found, photograph) {
  const [{ answer }] = found;
  const seen = found.map(({ answer: { samples: [sample] } }) => `${model.name}, ${sample.label}: ${sentence(sample.because)}`);
  finding.textContent = `Where ${model.name} finds the evidence for ${found.map(({ answer: { samples: [{ label }] } }) => label).join(", and for ")}.`;
  say(seen.join(" "));
  const notes = [answer.steps_note, ...answer.notes, answer.quantized].filter(Boolean);
  body.replaceChildren(
    el("div", { class: "evidence" }, figure("The photograph", photograph.url, `Your photograph, ${photograph.name}`), found.map(evidence)),
    ...notes.map((note) => el("p", { class: "small muted" }, explained(sentence(note)))),
    el("details", {}, el("summary", {}, "What the map says, and what it does not"), el("p", { class: "small" }, explained(answer.meaning))),
  );
}

function evidence({ answer, url }) {
  const [sample] = answer.samples;
  const words = [sample.because, sample.completeness?.because].filter(Boolean);
  return figure(
    `${sample.label}, ${percent(sample.probability)}`,
    url,
    `The evidence for ${sample.label}, laid over the photograph: ${sample.because}`,
    key(answer.method, sample.label),
    words.map((text) => el("p", { class: "small" }, explained(sentence(text)))),
  );
}

function figure(caption, source, alt, ...rest) {
  const image = el("img", { src: source, alt, load: (event) => showPixels(event.target) });
  return el("figure", {}, el("figcaption", {}, caption), image, ...rest);
}
