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
    el("p", { class: "small muted" }, "Training error in the curves is measured while training, on shifted and mirrored images; in the table, of the finished network on untouched ones."),
    scrollable("Trained models", table(trained)),
  );
  footer.replaceChildren(commands(trained.map(({ name }) => curl(`models/${name}`))));
}

/**
 * Says what the records show: where a deeper net of the same family is worse on training and test images alike
 * (degradation) or better, and how a residual net compares with a plain one of the same depth. Only nets that were
 * trained alike are compared; where others are shown beside them, every error says after how many epochs.
 */
function conclusion(trained) {
  const final = ({ detail }) => detail.training.final;
  const pairs = trained.flatMap((one) => trained.filter((other) => alike(one, other)).map((other) => [one, other]));
  const depths = pairs.filter(([deep, shallow]) => deep.family === shallow.family && deep.depth > shallow.depth);
  const on = (sign) => ([deep, shallow]) => ["train_error", "test_error"].every((field) => sign * (final(deep)[field] - final(shallow)[field]) > 0);
  const after = epochsWhereTheyDiffer(trained);
  const shortcuts = pairs
    .filter(([residual, plain]) => residual.family === "residual" && plain.family === "plain" && residual.depth === plain.depth)
    .map(([residual, plain]) => `${plain.depth} layers${after(plain)}: ${percent(final(plain).test_error)} plain, ${percent(final(residual).test_error)} with shortcuts`);
  const ends = shortcuts.length && shortcuts.length <= SPELT_OUT ? `Test error with ${shortcuts.join("; ")}.` : testErrors(trained, after);
  const depth = [...ofDepth(depths.filter(on(1)), "worse"), ...ofDepth(depths.filter(on(-1)), "better")];
  return depth.length ? `On training and test images alike, ${list(depth)}. ${ends}` : ends;
}

function ofDepth(pairs, how) {
  if (pairs.length > SPELT_OUT) return [`the deeper one of ${plural(pairs.length, "pair")} that differ in depth alone is ${how}`];
  return pairs.map(([deep, shallow]) => `${deep.name} is ${how} than ${shallow.name}`);
}

/** Gives a function that says after how many epochs a net is shown, or nothing where all had as many. */
function epochsWhereTheyDiffer(trained) {
  const epochs = ({ detail }) => detail.training.epochs.length;
  const differ = new Set(trained.map(epochs)).size > 1;
  return (model) => (differ ? ` after ${plural(epochs(model), "epoch")}` : "");
}

function testErrors(trained, after) {
  const errors = trained.map((model) => [model.detail.training.final.test_error, model]).sort(([one], [other]) => one - other);
  const spelt = errors.map(([error, model]) => `${model.name} ${percent(error)}${after(model)}`);
  return spelt.length > 2 * SPELT_OUT ? `Test error: from ${spelt[0]} to ${spelt.at(-1)}.` : `Test error: ${list(spelt)}.`;
}

/** Tells whether two nets differ only in depth and shortcuts, and had the same recipe, epochs and images. */
function alike({ detail: one }, { detail: other }) {
  const same = ["activation", "normalization"].every((part) => one.architecture[part] === other.architecture[part]);
  return same && training(one) === training(other);
}

const training = ({ training: { recipe, epochs, data_set } }) => JSON.stringify([Object.entries(recipe).sort(), epochs.length, data_set]);

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
