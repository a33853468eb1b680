// Reads numbers as the service writes them, and writes them as people read them.

/** Reads a number of an answer: null is NaN, and "NaN" and "Infinity" are strings, because JSON has no such numbers. */
export const number = (value) => (value === null || value === undefined ? NaN : Number(value));

export const percent = (share) => {
  const value = number(share) * 100;
  if (Number.isNaN(value)) return "–";
  if (value > 99.95 && value < 100) return "> 99.9 %";
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(1)} %`;
};

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

export const powerOfTen = (exponent) =>
  "10" + (exponent < 0 ? "⁻" : "") + [...String(Math.abs(exponent))].map((digit) => SUPERSCRIPTS[digit]).join("");

/** Writes three significant digits; very small and very large numbers get a power of ten. */
export function short(value) {
  const x = number(value);
  if (Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const exponent = Math.floor(Math.log10(Math.abs(x)));
  if (exponent < -3 || exponent > 4) {
    return `${(x / 10 ** exponent).toFixed(2)} · ${powerOfTen(exponent)}`.replace("-", "−");
  }
  return x.toPrecision(3).replace("-", "−");
}

/** Joins words: "a", "a and b", "a, b and c". */
export const list = (words) =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;

/** Gives a text a capital and a full stop. */
export const sentence = (text) => {
  const trimmed = String(text ?? "").trim();
  if (!trimmed) return "";
  return trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
};

export const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** Writes a number of bytes as the service does: a MB has 2²⁰ bytes. */
export const megabytes = (bytes) => (bytes >= 2 ** 20 ? `${Number((bytes / 2 ** 20).toPrecision(3))} MB` : `${Math.ceil(bytes / 1024)} kB`);

export const size = (width, height) => `${width.toLocaleString("en")} × ${height.toLocaleString("en")}`;

/** Writes a time in milliseconds, or in seconds where it is long. */
export const duration = (milliseconds) =>
  milliseconds < 1000 ? `${Math.max(1, Math.round(milliseconds))} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
