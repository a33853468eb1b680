// Node's own client. Prints a line for each answer.
import { openAsBlob, readFileSync } from "node:fs";

const [url, path] = process.argv.slice(2);
const image = readFileSync(path);
const form = new FormData();
form.append("images", await openAsBlob(path), "image.png");
const stream = () => new ReadableStream({ start(to) { to.enqueue(image); to.close(); } });
const json = JSON.stringify({ images: [image.toString("base64")] });
const requests = [
  { body: image },
  { body: stream(), duplex: "half" },
  { body: form },
  { body: json, headers: { "Content-Type": "application/json" } },
];
for (const request of requests) {
  const answer = await fetch(`${url}/predict`, { method: "POST", ...request });
  console.log(answer.status, await answer.text());
}
