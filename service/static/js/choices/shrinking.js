// A photograph over the service's limits, made smaller in the browser before it is sent.

import { el } from "../elements/dom.js";
import { megabytes, size } from "../elements/numbers.js";

const QUALITY = 0.92; // of the JPEG
const TRIES = 8;
const REST_OF_BODY = 2048; // bytes of a form around two photographs
const MOST_PIXELS_COPIED = 16_000_000; // of a WEBP or AVIF, as GET /models says

/**
 * Gives {photograph, note}: the photograph as it is, or a smaller JPEG of it and a note that says so.
 *
 * Two photographs travel together on a path, so each may have half of a body. The browser turns the picture upright
 * as its EXIF says. What the browser cannot read is left to the service to judge.
 */
export async function withinLimits(photograph, { body_bytes: most, image_pixels: mostPixels }) {
  const bytes = Math.floor(most / 2) - REST_OF_BODY;
  const pixels = /webp|avif/.test(photograph.blob.type) ? Math.min(mostPixels, MOST_PIXELS_COPIED) : mostPixels;
  const picture = await createImageBitmap(photograph.blob).catch(() => null);
  if (!picture) return { photograph, note: null };
  const { width, height } = picture;
  const fits = photograph.blob.size <= bytes && width * height <= pixels;
  const smaller = fits ? null : await redrawn(picture, Math.min(1, Math.sqrt(mostPixels / (width * height))), bytes);
  picture.close();
  if (!smaller) return { photograph, note: null };
  const name = photograph.name.replace(/(\.\w+)?$/, "-smaller.jpg");
  const url = URL.createObjectURL(smaller.blob);
  const note = el(
    "p",
    { class: "small note", "data-note": "smaller" },
    `Your browser made the photograph smaller: from ${size(width, height)} pixels, ${megabytes(photograph.blob.size)}, to `,
    `${size(smaller.width, smaller.height)}, ${megabytes(smaller.blob.size)}. The service takes images of `,
    `${(mostPixels / 1e6).toLocaleString("en")} million pixels, and ${megabytes(most)} in one request, which has two on the path below. `,
    el("a", { href: url, download: name }, "Save the smaller file"),
  );
  return { photograph: { name, url, blob: smaller.blob }, note };
}

async function redrawn(picture, scale, bytes) {
  const canvas = document.createElement("canvas");
  for (let tried = 0; tried < TRIES; tried++) {
    canvas.width = Math.max(1, Math.floor(picture.width * scale));
    canvas.height = Math.max(1, Math.floor(picture.height * scale));
    const drawing = canvas.getContext("2d");
    drawing.imageSmoothingQuality = "high";
    drawing.fillStyle = "#fff"; // as the service does with what is transparent
    drawing.fillRect(0, 0, canvas.width, canvas.height);
    drawing.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((made) => canvas.toBlob(made, "image/jpeg", QUALITY));
    if (!blob) return null;
    if (blob.size <= bytes) return { blob, width: canvas.width, height: canvas.height };
    scale *= Math.max(0.3, 0.95 * Math.sqrt(bytes / blob.size));
  }
  return null;
}
