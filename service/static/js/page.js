// The page: holds what the visitor has chosen, keeps it in the address, and asks the service anew when a choice changes.

import * as features from "./sections/features.js";
import * as gradients from "./sections/gradients.js";
import * as shattering from "./sections/shattering.js";
import * as verdicts from "./sections/verdicts.js";
import * as why from "./sections/why.js";
import { followAddress, readAddress, writeAddress } from "./address.js";
import { labelChoice } from "./choices/labels.js";
import { has, modelChoice, sayRefused, served } from "./choices/models.js";
import { mainField, preview } from "./choices/photograph.js";
import { Photographs } from "./choices/photographs.js";
import { sampleButtons, SAMPLES, unfit } from "./choices/samples.js";
import { copyButton } from "./elements/commands.js";
import { byId, el, say } from "./elements/dom.js";
import { loadGlossary } from "./elements/glossary.js";
import { plural } from "./elements/numbers.js";
import { problemBox } from "./elements/problem.js";
import { ask, showProgress } from "./service/api.js";
import { showSecondVersion } from "./sections/second_version.js";
import { showTraining } from "./sections/training.js";

const view = readAddress(); // what is chosen, by name
const underWay = {}; // AbortController by piece of work
const choices = {}; // functions that fit the controls to `view`
let models = []; // all that are served
let chosen = []; // those of them that are shown
let photographs = null;
let readable = false; // whether the photograph could be read
let featuresInSight = false;

/** Aborts the earlier piece of work of this name, and gives the signal of a new one. */
function renew(work) {
  underWay[work]?.abort();
  underWay[work] = new AbortController();
  return underWay[work].signal;
}

async function start() {
  narrowScreensFirstShowVerdicts();
  let found;
  try {
    [found] = await showProgress(null, Promise.all([served(), loadGlossary()]));
  } catch (problem) {
    byId("provider").dataset.state = "away";
    byId("provider").textContent = problem.status ? "refusing" : "not answering";
    byId("photograph-error").replaceChildren(problemBox(problem));
    return;
  }
  models = found.models;
  photographs = new Photographs(found.limits);
  byId("provider").textContent = `${plural(models.length, "model")} on ${found.provider.replace("ExecutionProvider", "")}`;
  byId("share").prepend(copyButton("Copy a link to this view", () => location.href));
  sayRefused(found.refused);
  if (found.shadow) showSecondVersion();
  if (!models.length) {
    const detail = "Put a bundle into the folder of bundles, or load one by its name; then open this page again.";
    byId("photograph-error").replaceChildren(problemBox({ title: "No model is served", detail }));
    return;
  }
  makeControls();
  followAddress(show);
  await show(view);
  new IntersectionObserver(([entry], observer) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    featuresInSight = true;
    lookInside();
  }, { rootMargin: "200px" }).observe(byId("features-place"));
}

function makeControls() {
  choices.models = modelChoice(models, (names) => change({ models: names }));
  choices.labels = labelChoice((labels) => change({ labels }));
  choices.sample = sampleButtons(byId("samples"), (sample) => change({ sample }));
  choices.second = shattering.secondPhotograph(
    (second) => change({ second }, walk),
    (photograph) => photographs.add(photograph).then((second) => change({ second }, walk)),
  );
  mainField((photograph) => photographs.add(photograph).then((sample) => change({ sample })));
}

/** Takes up what the visitor has chosen, and puts it into the address; `work` asks for what depends on it. */
async function change(changes, work = look) {
  Object.assign(view, changes);
  fitControls();
  writeAddress({ ...view, models: chosen.map(({ name }) => name) });
  await work();
}

/** Shows what an address asks for, and says what of it cannot be shown. */
async function show(asked) {
  Object.assign(view, asked);
  const missing = [...asked.models.filter((name) => !models.some((model) => model.name === name)).map((name) => `the model ${name}`)];
  for (const part of ["sample", "second"]) {
    if (view[part] === null || photographs.has(view[part])) continue;
    missing.push(photographs.isOwn(view[part]) ? "a photograph of its sender's own (no address holds one)" : `the sample ${view[part]}`);
    view[part] = null;
  }
  const labels = view.labels;
  fitControls();
  missing.push(...labels.filter((label) => !view.labels.includes(label)).map((label) => `the label ${label}`));
  byId("address-note").replaceChildren(missing.length ? el("p", { class: "small note" }, `Not all that the address asks for is here: ${missing.join(", ")}.`) : "");
  await look();
}

const shownSample = () => view.sample ?? SAMPLES[0];

/** Makes every control say what is chosen. */
function fitControls() {
  chosen = choices.models(view.models);
  view.labels = choices.labels(chosen, view.labels);
  choices.sample(shownSample());
  choices.second(view.second);
  const own = photographs.isOwn(view.sample);
  const poor = own ? null : unfit(chosen);
  byId("share-note").hidden = !own && !photographs.isOwn(view.second);
  byId("sample-note").replaceChildren(poor ? el("p", { class: "small muted" }, poor) : "");
  showTraining(chosen);
}

/** Asks for everything that depends on the photograph; requests for an earlier choice are dropped. */
async function look() {
  const signal = renew("look");
  const error = byId("photograph-error");
  let rows, photograph;
  try {
    const found = await photographs.get(shownSample());
    if (signal.aborted) return;
    photograph = found.photograph;
    byId("photograph-note").replaceChildren(found.note ?? "");
    preview(byId("drop"), byId("preview"), photograph);
    rows = verdicts.openRows(chosen);
    await showProgress(byId("verdicts"), verdicts.showLabels(rows, photograph, signal, askWhy));
    if (signal.aborted) return;
    error.replaceChildren();
    readable = true;
  } catch (problem) {
    if (signal.aborted) return;
    error.replaceChildren(problemBox(problem));
    say(problem.message);
    readable = false;
    for (const work of ["walk", "features", "why"]) renew(work);
    for (const section of [verdicts, why, gradients, shattering, features]) section.clear();
    return;
  }
  explain();
  walk();
  lookInside();
  await judge(rows, photograph, signal);
}

/** Asks for the gradients of every model, and shows each verdict as it comes. */
async function judge(rows, photograph, signal) {
  const request = (model) => [
    "diagnostics/gradients",
    { query: [["model", model.name], ...view.labels.map((label) => ["label", label])], images: [photograph] },
  ];
  const answered = [];
  const work = rows.map(async (row) => {
    try {
      const { answer } = await ask(...request(row.model), signal);
      verdicts.showVerdict(row, answer);
      answered.push({ row, answer });
    } catch (problem) {
      if (!signal.aborted) verdicts.showNoVerdict(row, problem);
    }
  });
  await showProgress(byId("gradients"), Promise.all(work));
  if (signal.aborted) return;
  const inOrder = rows.flatMap((row) => answered.filter((one) => one.row === row));
  verdicts.settle(rows, inOrder);
  const curves = inOrder.map(({ row, answer }) => ({ model: row.model, answer }));
  gradients.showGradients(curves, view, (changes) => {
    Object.assign(view, changes);
    writeAddress({ ...view, models: chosen.map(({ name }) => name) }, { replace: true });
  }, request);
}

/** Takes up the question why a model gives a label, and goes to the answer. */
async function askWhy(model, label, beside) {
  why.choose(model, label, beside);
  await explain();
  why.goThere();
}

/** Asks where the evidence for a label lies, where the visitor wants to know. */
async function explain() {
  const signal = renew("why");
  const { photograph } = await photographs.get(shownSample());
  if (readable && !signal.aborted) await why.show(chosen.filter((model) => has(model, "explanation")), photograph, signal, explain);
}

/** Asks for the path from the photograph to the second one, where one is chosen. */
async function walk() {
  const signal = renew("walk");
  const able = chosen.filter((model) => has(model, "input_gradient"));
  if (!readable || !able.length) return shattering.clear();
  if (!view.second) return shattering.introduce();
  const names = [shownSample(), view.second];
  try {
    const [{ photograph: first }, { photograph: second, note }] = await Promise.all(names.map((name) => photographs.get(name)));
    if (!signal.aborted) await shattering.showShattering({ first, second, note, models: able, labels: view.labels }, signal);
  } catch (problem) {
    if (!signal.aborted) shattering.showNoPath(problem);
  }
}

/** Asks for what the layers see, once the visitor has scrolled that far. */
async function lookInside() {
  const signal = renew("features");
  const able = chosen.filter((model) => has(model, "feature_maps"));
  if (!readable || !able.length) return features.clear();
  const { name } = able.find((model) => model.name === view.inside) ?? able[0];
  features.featureChoice(able, name, (inside) => change({ inside }, lookInside));
  if (!featuresInSight) return;
  const { photograph } = await photographs.get(shownSample());
  if (!signal.aborted) features.showFeatures(name, photograph, view.labels, signal);
}

/** Folds the choices where the screen is narrow, so that the verdicts come right after the photograph. */
function narrowScreensFirstShowVerdicts() {
  if (matchMedia("(max-width: 54rem)").matches) byId("choices").open = false;
}

start();
