// The logarithmic axis of norms.

import { powerOfTen } from "../elements/numbers.js";

export const drawable = (value) => Number.isFinite(value) && value > 0;

/** Chooses domain and ticks for the values: powers of ten, and 2 and 5 times them if the axis is short. */
export function logTicks(values, most = 8) {
  const shown = values.filter(drawable);
  const [least, largest] = shown.length ? [Math.min(...shown), Math.max(...shown)] : [0.1, 1];
  const short = Math.log10(largest / least) <= 2;
  const exponents = d3.range(Math.floor(Math.log10(least)) - 1, Math.ceil(Math.log10(largest)) + 2);
  const grid = exponents.flatMap((exponent) => (short ? [1, 2, 5] : [1]).map((step) => step * 10 ** exponent));
  const low = d3.max(grid.filter((tick) => tick <= least * (1 + 1e-9)));
  const high = d3.min(grid.filter((tick) => tick >= largest * (1 - 1e-9) && tick > low));
  const ticks = grid.filter((tick) => tick >= low && tick <= high);
  const every = Math.ceil(ticks.length / most);
  return { domain: [low, high], ticks: ticks.filter((_, at) => at % every === 0) };
}

export function tickName(value) {
  const exponent = Math.floor(Math.log10(value) + 1e-9);
  if (exponent >= -2 && exponent <= 3) return Number(value.toPrecision(1)).toLocaleString("en");
  const step = Math.round(value / 10 ** exponent);
  return (step === 1 ? "" : `${step}·`) + powerOfTen(exponent);
}
