// Parts that all charts share. `Plot` and `d3` are globals: their bundles are loaded before the modules.

export const INSET = { left: 48, right: 14 };
const CLASS = "plot"; // fixed, because the content-security policy allows Plot's style by the digest of its text

/** Draws into `holder` now and whenever its width changes. */
export function responsive(holder, draw) {
  let width = 0;
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now && now !== width) {
      width = now;
      holder.replaceChildren(draw(width));
    }
  }).observe(holder);
  return holder;
}

/** Plots one picture for screen readers; the names of its parts become `data-mark`. */
export function picture(options) {
  const plot = Plot.plot({ className: CLASS, ...options });
  plot.setAttribute("role", "img");
  for (const part of plot.querySelectorAll("[aria-label]")) {
    part.dataset.mark = part.getAttribute("aria-label");
    part.removeAttribute("aria-label");
  }
  return plot;
}

/** Chooses whole numbers for the ticks of an axis: d3 would put 1.5, written as 2, between 1 and 2. */
export function wholeTicks(first, last, width) {
  return d3.ticks(first, last, Math.min(last, width / 60)).filter(Number.isInteger);
}
