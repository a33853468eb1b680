// The page: holds what the visitor has chosen, and asks the service anew when a choice changes.

import * as features from "./features.js";
import * as gradients from "./gradients.js";
import * as predictions from "./predictions.js";
import { showProgress } from "./api.js";
import { byId, say } from "./dom.js";
import { labelChoice, modelChoice, sayRefused, served } from "./models.js";
import { mainField, preview, sample, sampleButtons, SAMPLES } from "./photograph.js";
import { problemBox } from "./problem.js";
import { secondPhotograph, showShattering } from "./shattering.js";
import { showTraining } from "./training.js";

const asked = { photograph: null, second: null, labels: [], models: [] };
const underWay = {}; // AbortController by piece of work
let featuresInSight = false;

/** Aborts the earlier piece of work of this name, and gives the signal of a new one. */
function renew(work) {
  underWay[work]?.abort();
  underWay[work] = new AbortController();
  return underWay[work].signal;
}

async function start() {
  let found;
  try {
    found = await showProgress(null, served());
  } catch (problem) {
    byId("provider").dataset.state = "away";
    byId("provider").textContent = "not answering";
    byId("photograph-error").replaceChildren(problemBox(problem));
    return;
  }
  const { models, provider, refused } = found;
  byId("provider").textContent = `${models.length} ${models.length === 1 ? "model" : "models"} on ${provider.replace("ExecutionProvider", "")}`;
  sayRefused(refused);
  showTraining(models);

  const offerLabels = labelChoice((labels) => {
    asked.labels = labels;
    look();
  });
  asked.models = modelChoice(models, (chosen) => {
    asked.models = chosen;
    asked.labels = offerLabels(chosen);
    features.featureChoice(chosen, lookInside);
    look();
  });
  offerLabels(asked.models);
  features.featureChoice(asked.models, lookInside);
  secondPhotograph((photograph) => {
    asked.second = photograph;
    walk();
  });

  const markSample = sampleButtons(byId("samples"), async (name) => take(await sample(name), name));
  const take = (photograph, name = null) => {
    markSample(name);
    preview(byId("drop"), byId("preview"), photograph);
    asked.photograph = photograph;
    look();
  };
  mainField((photograph) => take(photograph));

  new IntersectionObserver(([entry], observer) => {
    if (!entry.isIntersecting) return;
    observer.disconnect();
    featuresInSight = true;
    lookInside();
  }, { rootMargin: "200px" }).observe(byId("features"));

  take(await sample(SAMPLES[0]), SAMPLES[0]);
}

/** Asks for everything that depends on the photograph; requests for an earlier choice are dropped. */
async function look() {
  const { photograph, models, labels } = asked;
  if (!photograph) return;
  const signal = renew("look");
  const error = byId("photograph-error");
  try {
    await predictions.showPredictions(photograph, models, signal);
    if (signal.aborted) return;
    error.replaceChildren();
  } catch (problem) {
    if (signal.aborted) return;
    error.replaceChildren(problemBox(problem));
    say(problem.message);
    gradients.clear();
    features.clear();
    return;
  }
  gradients.showGradients(photograph, models, labels, signal);
  walk();
  lookInside();
}

/** Asks for the path from the photograph to the second one, where one is chosen. */
function walk() {
  const { photograph, second, models, labels } = asked;
  if (photograph && second) showShattering(photograph, second, models, labels, renew("walk"));
}

/** Asks for what the layers see, once the visitor has scrolled that far. */
function lookInside() {
  if (asked.photograph && featuresInSight) features.showFeatures(asked.photograph, asked.labels, renew("features"));
}

start();
