"""Scales, axes and marks of the SVG plots. Lengths are in CSS pixels.

Built on the standard library's ElementTree, which escapes every string: labels come from files that strangers wrote.
`docs/decisions/server-side-plots.md` says why no plotting library is used.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Final, Protocol
from xml.etree import ElementTree

from PIL import Image

from service.contract.arrays import Pixels
from service.diagnostics.words import power_of_ten

WIDTH: Final = 880
MARGIN: Final = 32
LEFT: Final = MARGIN + 44
"""Left end of a plot that has a vertical axis."""
RIGHT: Final = WIDTH - MARGIN
FONT: Final = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'

# Okabe and Ito's palette: told apart with every common form of colour blindness.
STYLE: Final = (
    f"text {{ font-family: {FONT}; font-size: 13px; fill: #1d2733; }}"
    + """
.title { font-size: 20px; font-weight: 650; }
.muted { fill: #5b6775; }
.small { font-size: 11.5px; }
.paper { fill: #ffffff; }
.grid { stroke: #e3e8ee; }
.axis { stroke: #9aa6b2; }
.mark { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.sample { stroke-width: 1; opacity: .35; }
.dashed { stroke-dasharray: 7 5; }
.dotted { stroke-dasharray: 2 5; }
.residual { stroke: #0072b2; } .residual-dot { fill: #0072b2; }
.plain { stroke: #d55e00; } .plain-dot { fill: #d55e00; }
.imported { stroke: #009e73; } .imported-dot { fill: #009e73; }
.reference { stroke: #5b6775; } .reference-dot { fill: #5b6775; }
@media (prefers-color-scheme: dark) {
  text { fill: #e8edf2; }
  .muted { fill: #a3afbb; }
  .paper { fill: #12181f; }
  .grid { stroke: #26303a; }
  .axis { stroke: #64717d; }
  .residual { stroke: #56b4e9; } .residual-dot { fill: #56b4e9; }
  .plain { stroke: #f0a030; } .plain-dot { fill: #f0a030; }
  .imported { stroke: #2fc49a; } .imported-dot { fill: #2fc49a; }
  .reference { stroke: #a3afbb; } .reference-dot { fill: #a3afbb; }
}
"""
)


class Scale(Protocol):
    """Maps values to positions along an axis, and says where its ticks are."""

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...

    def __call__(self, value: float) -> float: ...

    def ticks(self) -> Iterator[tuple[float, str]]: ...


@dataclass(frozen=True)
class Linear:
    """A linear axis from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yield about five round values, each with its name."""
        span = self.high - self.low or 1.0
        step = 10.0 ** math.floor(math.log10(span / 4))
        step *= next(multiple for multiple in (1, 2, 2.5, 5, 10) if span / (step * multiple) <= 5.5)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        for index in range(first, last + 1):
            yield index * step, f"{index * step:.6g}".replace("-", "\N{MINUS SIGN}")


STEPS: Final = (1.0, 2.0, 5.0)
"""Ticks within a decade, on a short axis."""
SHORT: Final = 2.0
"""Most decades of a short axis."""


@dataclass(frozen=True)
class Logarithmic:
    """A base-10 logarithmic axis from `low` to `high`, drawn from `start` to `end`; both ends are ticks."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float) -> Logarithmic:
        """Make the axis that holds every finite value above 0; 0.1 … 1 if there is none."""
        drawable = [value for value in values if math.isfinite(value) and value > 0] or [0.1, 1.0]
        least, most = min(drawable), max(drawable)
        steps = STEPS if math.log10(most / least) <= SHORT else STEPS[:1]
        around = range(math.floor(math.log10(least)) - 1, math.ceil(math.log10(most)) + 2)
        grid = [step * 10.0**exponent for exponent in around for step in steps]
        low = max(tick for tick in grid if tick <= least * (1 + 1e-9))
        return cls(low, min(tick for tick in grid if tick >= most * (1 - 1e-9) and tick > low), start, end)

    def __call__(self, value: float) -> float:
        low, high = math.log10(self.low), math.log10(self.high)
        return self.start + (math.log10(value) - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Yield at most about seven powers of ten; on a short axis also 2 and 5 times each."""
        low, high = math.floor(math.log10(self.low) + 1e-9), math.ceil(math.log10(self.high) - 1e-9)
        short = math.log10(self.high / self.low) <= SHORT + 1
        for exponent in range(low, high + 1, 1 if short else math.ceil((high - low) / 7)):
            for step in STEPS if short else STEPS[:1]:
                value = step * 10.0**exponent
                if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9):
                    yield value, tick_name(step, exponent)


def tick_name(step: float, exponent: int) -> str:
    """Return `0.02` where the digits are few, else `10⁻⁵` or `2·10⁻⁵`."""
    if -2 <= exponent <= 3:
        return f"{step * 10.0**exponent:,g}"
    return power_of_ten(exponent) if step == 1 else f"{step:g}·{power_of_ten(exponent)}"


class Drawing:
    """One SVG picture, with a title that states the finding and a subtitle that says what is shown."""

    def __init__(self, title: str, subtitle: str, height: float) -> None:
        header = wrap(title, 76), wrap(subtitle, 116)
        self.top: float = MARGIN + 26 * len(header[0]) + 19 * len(header[1])
        self.root = ElementTree.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {WIDTH} {self.top + height:.0f}",
                "width": str(WIDTH),
                "height": f"{self.top + height:.0f}",
                "role": "img",
                "aria-label": f"{title}. {subtitle}",
            },
        )
        self._add("title").text = title
        self._add("desc").text = subtitle
        self._add("style").text = STYLE
        self._add("rect", width="100%", height="100%", **{"class": "paper"})
        for number, line in enumerate(header[0]):
            self.text(MARGIN, MARGIN + 12 + 26 * number, line, "title")
        for number, line in enumerate(header[1]):
            self.text(MARGIN, MARGIN + 10 + 26 * len(header[0]) + 19 * number, line, "muted")

    def _add(self, tag: str, **attributes: str) -> ElementTree.Element:
        return ElementTree.SubElement(self.root, tag, attributes)

    def text(self, x: float, y: float, content: str, style: str = "", anchor: str = "start", turn: float = 0) -> None:
        """Write one line of text; its baseline starts at x, y, or ends or is centred there (`anchor`)."""
        element = self._add("text", x=f"{x:.1f}", y=f"{y:.1f}", **{"class": style, "text-anchor": anchor})
        if turn:
            element.set("transform", f"rotate({turn:g} {x:.1f} {y:.1f})")
        element.text = content

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        self._add("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", **{"class": style})

    def curve(self, points: Sequence[tuple[float, float] | None], style: str) -> None:
        """Draw a line through the points; None leaves a gap."""
        path, pen = [], "M"
        for point in points:
            if point is None:
                pen = "M"
                continue
            path.append(f"{pen}{point[0]:.1f} {point[1]:.1f}")
            pen = "L"
        if path:
            self._add("path", d="".join(path), **{"class": f"mark {style}"})

    def dot(self, x: float, y: float, style: str, label: str, radius: float = 3.4) -> None:
        """Draw a dot; its label shows on hovering."""
        element = self._add("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=f"{radius:g}", **{"class": style})
        ElementTree.SubElement(element, "title").text = label

    def bar(self, x: float, y: float, width: float, height: float, style: str) -> None:
        self._add("rect", x=f"{x:.1f}", y=f"{y:.1f}", width=f"{width:.1f}", height=f"{height:.1f}", **{"class": style})

    def picture(self, x: float, y: float, side: float, pixels: Pixels, label: str) -> None:
        """Draw a matrix of colours, uint8 [rows, columns, 3], as a square of sharp tiles."""
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        self.image(x, y, side, "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(), label)

    def image(self, x: float, y: float, side: float, href: str, label: str, height: float | None = None) -> None:
        """Draw a picture that is given as a data URL, square unless its `height` is given too."""
        element = self._add(
            "image",
            x=f"{x:.1f}",
            y=f"{y:.1f}",
            width=f"{side:.1f}",
            height=f"{side if height is None else height:.1f}",
            href=href,
            preserveAspectRatio="none",
            style="image-rendering: pixelated",
        )
        ElementTree.SubElement(element, "title").text = label

    def vertical_axis(self, scale: Scale, left: float, right: float, label: str) -> None:
        """Draw ticks with grid lines from `left` to `right`, and the label above them."""
        highest = min(scale(value) for value, _ in scale.ticks())
        for value, name in scale.ticks():
            y = scale(value)
            self.line(left, y, right, y, "grid")
            self.text(left - 8, y + 4, name, "muted small", "end")
        self.text(left, highest - 12, label, "small")

    def horizontal_axis(self, scale: Scale, y: float, label: str) -> None:
        """Draw a line at `y`, ticks below it, and the label under them."""
        for value, name in scale.ticks():
            x = scale(value)
            self.text(x, y + 18, name, "muted small", "middle")
        self.line(scale.start, y, scale.end, y, "axis")
        self.text((scale.start + scale.end) / 2, y + 38, label, "small", "middle")

    def legend(self, x: float, y: float, entries: Sequence[tuple[str, str]]) -> None:
        """Draw line samples with their names from left to right; an entry is (style, name)."""
        for style, name in entries:
            self.curve([(x, y - 4), (x + 26, y - 4)], style)
            self.text(x + 33, y, name)
            x += 33 + 7.4 * len(name) + 26

    def svg(self) -> str:
        """Return the document, with an XML declaration."""
        return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(self.root, encoding="unicode")
