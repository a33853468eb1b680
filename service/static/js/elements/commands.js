// Parts that can be copied: commands, and the address of what is shown.

import { el, say } from "./dom.js";

/** Lists commands that give the same answer in a terminal, each with a button that copies it. */
export function commands(list) {
  return el(
    "details",
    { class: "commands" },
    el("summary", {}, "The same from a terminal"),
    list.map((command) => el("div", { class: "command" }, el("code", {}, command), copyButton("Copy", () => command))),
  );
}

/** Makes a button that copies what `text` gives at that time. */
export function copyButton(name, text) {
  const button = el("button", { type: "button", class: "button", click: copy }, name);
  async function copy() {
    button.textContent = (await toClipboard(text())) ? "Copied" : "Press Ctrl+C";
    say(button.textContent);
    setTimeout(() => (button.textContent = name), 1800);
  }
  return button;
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without TLS, browsers offer the clipboard on localhost alone: copy from a hidden field instead.
    const field = el("textarea", { class: "visually-hidden" });
    field.value = text;
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    return copied;
  }
}
