// The API key that the visitor has entered, where the service asks for one.
//
// It is kept in sessionStorage: it survives a reload and is gone with the tab. localStorage would leave it behind on
// the machine, and a cookie would go out with requests that other sites make. Its name there holds the page's own
// address, because several services may stand behind one host, and none may get another's key.

import { byId, el, say } from "../elements/dom.js";

const NAME = `contraflow key of ${new URL("./", document.baseURI).pathname}`;

let key = stored();
let entering = null; // promise of a key, while the field waits for one

/** Gives the header that sends the key, if there is one. */
export function authorization() {
  // A header takes bytes: a key with other letters than ASCII is sent as UTF-8, as a shell sends it.
  return key ? { Authorization: `Bearer ${String.fromCharCode(...new TextEncoder().encode(key))}` } : {};
}

/**
 * Shows the field for a key, after a request was refused for want of one, and waits until the visitor has entered it.
 * All requests that are refused meanwhile wait for the same.
 *
 * sent: the header that the refused request had.
 */
export function keyEntered(sent) {
  if (sent.Authorization !== authorization().Authorization) return Promise.resolve(); // another was entered meanwhile
  entering ??= showField(Boolean(key)).finally(() => (entering = null));
  return entering;
}

/** Takes the field away, now that the service has answered a request with this header. */
export function keyTaken(sent) {
  if (byId("login").hidden || !key || sent.Authorization !== authorization().Authorization) return;
  byId("login").hidden = true;
  delete byId("main").dataset.locked;
  byId("main").focus();
}

function showField(wasRefused) {
  const [section, form, field, button, error] = ["login", "login-form", "login-key", "login-button", "login-error"].map(byId);
  keep("");
  hideLinks();
  error.textContent = wasRefused ? "The service does not take this key." : "";
  field.setAttribute("aria-invalid", String(wasRefused));
  section.hidden = button.disabled = false;
  byId("main").dataset.locked = "";
  say(error.textContent || "This service asks for a key.");
  field.focus();
  return new Promise((resume) => {
    form.onsubmit = (event) => {
      event.preventDefault(); // an address is no place for a key
      const entered = field.value.trim();
      field.value = "";
      if (!entered || button.disabled) return;
      button.disabled = true;
      error.textContent = ""; // it was said of the key before
      field.setAttribute("aria-invalid", "false");
      keep(entered);
      resume();
    };
  });
}

function keep(entered) {
  key = entered;
  try {
    if (key) sessionStorage.setItem(NAME, key);
    else sessionStorage.removeItem(NAME);
  } catch {
    // The browser keeps nothing for this site: the key lasts as long as the page.
  }
  showHeld();
}

function stored() {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return "";
  }
}

/** Offers to forget the key that is held. */
function showHeld() {
  byId("key-held").replaceChildren(key ? el("button", { type: "button", class: "button", click: forget }, "Forget key") : "");
  hideLinks();
}

/** Hides links to what needs a key: a link sends none. */
function hideLinks() {
  for (const link of document.querySelectorAll("[data-needs-key]")) link.hidden = true;
}

function forget() {
  keep("");
  location.reload(); // nothing that the key has opened stays in sight
}

if (key) showHeld();
