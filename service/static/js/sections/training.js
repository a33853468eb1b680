// Training curves of the served models: does more depth make a net better, or worse?

import { curl } from "../service/api.js";
import { errorChart } from "../charts/lines.js";
import { swatch } from "../charts/looks.js";
import { commands } from "../elements/commands.js";
import { el, scrollable, section } from "../elements/dom.js";
import { list, number, percent, plural } from "../elements/numbers.js";

const { root, finding, body, footer } = section("training");
const SPELT_OUT = 3; // findings that are said one by one

/** Draws the training records of the models; without any, the section is hidden. */
export function showTraining(models) {
  const trained = models.filter(({ detail }) => detail.training?.epochs.length);
  root.hidden = !trained.length;
  if (!trained.length) return;
  finding.textContent = conclusion(trained);
  const errors = trained.flatMap(({ detail }) => detail.training.epochs.flatMap((epoch) => [epoch.train_error, epoch.test_error]));
  const highest = Math.ceil(Math.max(...errors.map(number)) * 10) * 10;
  const half = (label, field) => {
    const curves = trained.map((model) => ({
      model,
      points: model.detail.training.epochs.map((epoch) => [epoch.epoch, number(epoch[field]) * 100]),
    }));
    return el("figure", {}, errorChart({ curves, highest, label }));
  };
  body.replaceChildren(
    el("ul", { class: "key control-row", "aria-label": "Models" }, trained.map((model) => el("li", {}, swatch(model), model.name))),
    el("div", { class: "halves" }, half("training error", "train_error"), half("test error", "test_error")),
    el("p", { class: "small muted" }, "Training error in the curves is measured while training, on images shifted and mirrored at random; in the table, of the finished network on untouched ones."),
    scrollable("Trained models", table(trained)),
  );
  footer.replaceChildren(commands(trained.map(({ name }) => curl(`models/${name}`))));
}

/**
 * Says what the records show: where a deeper net of the same family is worse on training and test images alike
 * (degradation), and how a residual net compares with a plain one of the same depth.
 */
function conclusion(trained) {
  const final = ({ detail }) => detail.training.final;
  const pairs = trained.flatMap((one) => trained.filter((other) => alike(one, other)).map((other) => [one, other]));
  const worse = pairs
    .filter(([deep, shallow]) => deep.family === shallow.family && deep.depth > shallow.depth)
    .filter(([deep, shallow]) => ["train_error", "test_error"].every((field) => final(deep)[field] > final(shallow)[field]));
  const degraded = worse.length > SPELT_OUT
    ? [`In ${plural(worse.length, "pair")} of nets that differ in depth alone, the deeper one is worse on training and test images alike.`]
    : worse.map(([deep, shallow]) => `${deep.name} is worse than ${shallow.name} on training and test images alike.`);
  const shortcuts = pairs
    .filter(([residual, plain]) => residual.family === "residual" && plain.family === "plain" && residual.depth === plain.depth)
    .map(([residual, plain]) => `${plain.depth} layers: ${percent(final(plain).test_error)} plain, ${percent(final(residual).test_error)} with shortcuts`);
  const ends = shortcuts.length && shortcuts.length <= SPELT_OUT ? `Test error with ${list(shortcuts)}.` : testErrors(trained);
  const lengths = [...new Set(trained.map(({ detail }) => detail.training.epochs.length))].sort((a, b) => a - b);
  const caution = lengths.length > 1 ? `They were trained for ${list(lengths.map(String))} epochs; only nets trained equally long say what depth does.` : null;
  return [...degraded, ends, caution].filter(Boolean).join(" ");
}

function testErrors(trained) {
  const errors = trained.map((model) => [model.detail.training.final.test_error, model.name]).sort(([one], [other]) => one - other);
  const spelt = errors.map(([error, name]) => `${name} ${percent(error)}`);
  return spelt.length > 2 * SPELT_OUT ? `Test error: from ${spelt[0]} to ${spelt.at(-1)}.` : `Test error: ${list(spelt)}.`;
}

/** Tells whether two nets differ only in depth and shortcuts, so that their errors may be compared. */
function alike({ detail: one }, { detail: other }) {
  const same = ["activation", "normalization"].every((part) => one.architecture[part] === other.architecture[part]);
  return same && one.training.epochs.length === other.training.epochs.length;
}

function table(trained) {
  const head = ["model", "layers", "weights", "epochs", "training error", "test error", "data"];
  return el(
    "table",
    {},
    el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))),
    el(
      "tbody",
      {},
      trained.map((model) => {
        const { training, layers } = model.detail;
        const weights = Array.isArray(layers) ? layers.reduce((sum, layer) => sum + layer.parameters, 0) : null;
        return el(
          "tr",
          {},
          el("th", { scope: "row" }, swatch(model), model.name),
          el("td", {}, String(model.depth)),
          el("td", {}, weights ? weights.toLocaleString("en") : "–"),
          el("td", { title: plural(training.epochs.length, "epoch") }, String(training.epochs.length)),
          el("td", {}, percent(training.final.train_error)),
          el("td", {}, percent(training.final.test_error)),
          el("td", {}, training.data_set),
        );
      }),
    ),
  );
}
