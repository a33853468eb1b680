// The photographs that can be shown: the samples, and the visitor's own of this visit.

import { sample, SAMPLES } from "./samples.js";
import { withinLimits } from "./shrinking.js";

export const NOISE = { name: "noise" }; // drawn by the service, where it gets one photograph only
const OWN = "own"; // begins the name that a photograph of the visitor's own has in the address

/** Holds photographs by the names that they have in the address. */
export class Photographs {
  #found = new Map();
  #limits;

  constructor(limits) {
    this.#limits = limits;
    this.#found.set(NOISE.name, { photograph: NOISE, note: null });
  }

  /** Takes a photograph of the visitor's own, smaller if need be; gives its name. */
  async add(photograph) {
    const fit = await withinLimits(photograph, this.#limits);
    const name = `${OWN}-${this.#found.size}`; // only now, because others may have been taken meanwhile
    this.#found.set(name, fit);
    return name;
  }

  has(name) {
    return this.#found.has(name) || SAMPLES.includes(name);
  }

  isOwn(name) {
    return Boolean(name?.startsWith(OWN));
  }

  /** Gives {photograph, note}; a sample is fetched once. Throws Problem. */
  async get(name) {
    if (!this.#found.has(name)) this.#found.set(name, { photograph: await sample(name), note: null });
    return this.#found.get(name);
  }
}
