// Requests to the service, its errors in words, and the same requests as curl commands.

import { byId } from "../elements/dom.js";
import { authorization, keyEntered, keyTaken } from "./key.js";

/** The service's RFC 9457 problem document, or the fact that there was no answer. */
export class Problem extends Error {
  constructor({ title, detail, status = 0, request_id: requestId = null, retry_after_ms: retryAfter = null }) {
    super(detail || title);
    Object.assign(this, { title, detail, status, requestId, retryAfter });
  }
}

const KEEP_ASKING = 20_000; // milliseconds

const address = (path, query = []) => {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of query) if (value !== null && value !== "") url.searchParams.append(name, value);
  return url;
};

/**
 * Sends a request: POST where there are images, else GET. Gives {answer, milliseconds}, where the answer is a Blob if the
 * query asks for a picture, and JSON otherwise; throws Problem.
 *
 * After a start, gradient graphs load last. While they do, the service answers 503 with a time to wait; the request is
 * then repeated, for KEEP_ASKING at most. So it is where the key has used up its rate (429): the page asks much at once. Where
 * the service wants a key (401), the request waits until the visitor has entered one.
 */
export async function ask(path, { query = [], images = [] } = {}, signal = null) {
  let giveUp = performance.now() + KEEP_ASKING;
  for (;;) {
    const headers = authorization();
    try {
      return await once(address(path, query), images, headers, signal);
    } catch (problem) {
      if (problem.status === 401) {
        await keyEntered(headers);
        signal?.throwIfAborted();
        giveUp = performance.now() + KEEP_ASKING;
        continue;
      }
      const wait = [429, 503].includes(problem.status) ? problem.retryAfter : null;
      if (wait === null || performance.now() + wait > giveUp) throw problem;
      await new Promise((resume) => setTimeout(resume, wait));
      signal?.throwIfAborted();
    }
  }
}

async function once(url, images, headers, signal) {
  const body = images.length > 1 ? multipart(images) : images[0]?.blob;
  const started = performance.now();
  let response;
  try {
    response = await fetch(url, { method: body ? "POST" : "GET", body, headers, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "No answer", detail: "The service cannot be reached. Is it running?" });
  }
  if (response.status !== 401) keyTaken(headers);
  const isPicture = response.headers.get("Content-Type")?.startsWith("image/");
  const answer = await (isPicture ? response.blob() : response.json()).catch(() => null);
  if (!response.ok || answer === null) throw new Problem({ title: "The request failed", status: response.status, ...answer });
  return { answer, milliseconds: performance.now() - started };
}

function multipart(images) {
  const form = new FormData();
  for (const { blob, name } of images) form.append("images", blob, name);
  return form;
}

/** Writes a request as a curl command; with `svg`, one that saves the plot. */
export function curl(path, { query = [], images = [], svg = false } = {}) {
  const url = quote(readable(address(path, svg ? [...query, ["format", "svg"]] : query).href));
  const save = svg ? ` -o ${path.split("/").pop()}.svg` : "";
  const key = authorization().Authorization ? '-H "X-API-Key: $KEY" ' : ""; // never the key itself: commands are pasted
  if (!images.length) return `curl ${key}${url}${save}`;
  if (images.length === 1) return `curl ${key}--data-binary @${quote(images[0].name)} ${url}${save}`;
  return `curl ${key}${images.map(({ name }) => `-F images=@${quote(name)}`).join(" ")} ${url}${save}`;
}

/** Writes the commands of a diagnosis: one for its answer, and one for the plot of it. */
export const answerAndPlot = (path, request) => [curl(path, request), curl(path, { ...request, svg: true })];

/** Shows what means the same in a query unencoded; an encoded "&", "+", "#" or "%" must stay so. */
const readable = (href) => href.replace(/%(40|2C|2F|3A)/g, decodeURIComponent);

const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

let waiting = 0;

/** Shows the progress bar while `work` is under way, once it has taken a third of a second. */
export async function showProgress(section, work) {
  const bar = byId("progress");
  section?.setAttribute("aria-busy", "true");
  waiting += 1;
  const timer = setTimeout(() => (bar.hidden = false), 300);
  try {
    return await work;
  } finally {
    clearTimeout(timer);
    waiting -= 1;
    if (!waiting) bar.hidden = true;
    section?.removeAttribute("aria-busy");
  }
}
