// A second version beside the one that answers: how often the two disagree on live images, and about what.

import { ask, curl } from "../service/api.js";
import { commands } from "../elements/commands.js";
import { el, scrollable, section } from "../elements/dom.js";
import { number, percent, plural, sentence, short } from "../elements/numbers.js";
import { problemBox } from "../elements/problem.js";

const { root, finding, body, footer } = section("second-version");
const PATH = "diagnostics/shadow";
const MOST_LAYERS = 8;

/** Shows what the shadow of the service answers; the visitor may ask again, as live images go on. */
export async function showSecondVersion() {
  root.hidden = false;
  try {
    const { answer } = await ask(PATH);
    finding.textContent = sentence(answer.because);
    body.replaceChildren(...[facts(answer), disagreements(answer), layers(answer), notes(answer)].filter(Boolean));
  } catch (problem) {
    body.replaceChildren(problemBox(problem));
  }
  const again = el("button", { type: "button", class: "button", click: showSecondVersion }, "Ask again");
  footer.replaceChildren(el("div", {}, again), commands([curl(PATH)]));
}

/** Says which versions are compared, on how many images, and how far their probabilities are apart. */
function facts({ model, shadow, state, reason, share, since, all }) {
  const what = model ? `${shadow} also gets ${percent(share)} of the images that ${model} answers` : `${shadow} gets no image`;
  const when = since ? `, since ${since.replace("T", " ").replace("Z", " UTC")}` : "";
  const counted = `${plural(all.compared, "image")} compared, ${all.dropped.toLocaleString("en")} dropped, ${all.failed.toLocaleString("en")} failed. One image at a time is compared, and requests come first.`;
  const apart = all.mean_difference === null ? "" : ` The probability of the answered label differs by ${short(all.mean_difference)} on average, any probability by ${short(all.largest_difference)} at most.`;
  return el("p", {}, `${what}${when}. `, state === "waiting" && model ? `Nothing is compared now: ${reason} ` : "", counted, apart);
}

/** Lists the pairs of labels that the two disagree about, of the last images and of all. */
function disagreements({ model, shadow, all, window: last }) {
  if (!all.pairs.length) return null;
  const rows = new Map();
  const count = (pairs, column) => {
    for (const { answered, shadow: other, images } of pairs) {
      const key = JSON.stringify([answered, other]);
      if (!rows.has(key)) rows.set(key, { answered, other, counts: [0, 0] });
      rows.get(key).counts[column] = images;
    }
  };
  count(last.pairs, 0);
  count(all.pairs, 1);
  const title = "Disagreements by label";
  const head = [`${model} says`, `${shadow} says`, `of the last ${last.compared.toLocaleString("en")}`, `of all ${all.compared.toLocaleString("en")}`];
  const table = el(
    "table",
    { "aria-label": title },
    el("thead", {}, el("tr", {}, head.map((text, at) => el("th", { scope: "col", class: at < 2 ? "words" : null }, text)))),
    el(
      "tbody",
      {},
      [...rows.values()].map(({ answered, other, counts }) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, answered),
          el("td", { class: "words" }, other),
          counts.map((images) => el("td", {}, images ? images.toLocaleString("en") : "–")),
        ),
      ),
    ),
  );
  const more = all.other_pairs ? el("p", { class: "small muted" }, `${plural(all.other_pairs, "more disagreement")} about other labels.`) : null;
  return el("div", {}, el("h3", {}, title), scrollable(title, table), more);
}

/** Lists the layers whose gradients differ the most. */
function layers({ layers: compared }) {
  if (!compared) return null;
  const far = (layer) => (Number.isNaN(number(layer.decades)) ? Infinity : Math.abs(number(layer.decades)));
  const farthest = [...compared.differences].sort((one, other) => far(other) - far(one)).slice(0, MOST_LAYERS);
  const title = "Layers whose gradient differs most";
  const table = el(
    "table",
    { "aria-label": title },
    el("thead", {}, el("tr", {}, ["layer", "gradient by the second version", "moved"].map((text) => el("th", { scope: "col" }, text)))),
    el(
      "tbody",
      {},
      farthest.map((layer) =>
        el("tr", {}, el("th", { scope: "row" }, layer.layer), el("td", {}, `${short(10 ** number(layer.decades))} ×`), el("td", {}, layer.moved ? "yes" : "no")),
      ),
    ),
  );
  return el("div", {}, el("h3", {}, title, " ", el("span", { class: "facts" }, `on ${plural(compared.images, "image")}`)), scrollable(title, table));
}

function notes({ notes: said, last_failure: failure }) {
  const every = failure ? [...said, `The last image that failed: ${failure}`] : said;
  return el("div", {}, every.map((note) => el("p", { class: "small muted" }, note.replaceAll("`", ""))));
}
