"""Elements of HTML, tables, and numbers in words.

Built on the standard library's ElementTree, which escapes every string: names of labels and files are strangers'.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, SubElement

from service.diagnostics.words import power_of_ten
from service.output.printable import printable

Content = Element | str | None


def tag(name: str, /, *content: Content, **attributes: str | None) -> Element:
    """Make an element; `class_` is the attribute class, `colspan` and others are as they are, None is left out."""
    given = {key.rstrip("_").replace("_", "-"): _text(value) for key, value in attributes.items() if value is not None}
    element = Element(name, given)
    put(element, *content)
    return element


def put(element: Element, *content: Content) -> None:
    """Append elements and text, which is made printable."""
    for one in content:
        if one is None:
            continue
        if isinstance(one, Element):
            element.append(one)
        elif len(element):
            element[-1].tail = (element[-1].tail or "") + _text(one)
        else:
            element.text = (element.text or "") + _text(one)


def _text(text: str) -> str:
    return text if text.isprintable() else printable(text, 10 * len(text))


def section(identity: str, title: str, *content: Content) -> Element:
    """Make a section with a heading, which links may lead to."""
    return tag("section", tag("h2", title), *content, id=identity)


def table(caption: str, head: Sequence[Content], rows: Iterable[Sequence[Content]], kind: str = "") -> Element:
    """Make a table that scrolls sideways where the screen is narrow.

    The first cell of each row is its heading. `caption` is shown above, and names the region that scrolls.
    """
    made = tag("table", tag("caption", tag("span", caption)), class_=kind or None)
    put(SubElement(SubElement(made, "thead"), "tr"), *(tag("th", one, scope="col") for one in head))
    body = SubElement(made, "tbody")
    for first, *rest in rows:
        cells = (one if isinstance(one, Element) and one.tag == "td" else tag("td", one) for one in rest)
        put(SubElement(body, "tr"), tag("th", first, scope="row"), *cells)
    return tag("div", made, class_="scroll", role="region", tabindex="0", aria_label=caption)


def folded(title: str, *content: Content) -> Element:
    """Make a part that opens with a click, and is printed as the reader left it."""
    return tag("details", tag("summary", title), *content)


def in_percent(share: float) -> str:
    """Return a share in percent with one digit behind the point: 0.8842 → "88.4 %"."""
    if not math.isfinite(share):
        return "not a number"
    if 0 < share < 0.0005:
        return "under 0.1 %"
    return "over 99.9 %" if 0.9995 <= share < 1 else f"{100 * share:.1f} %"


def number(value: float) -> str:
    """Return a number with three digits in plain notation where that is short: 0.0123, 15.2, 12,300, 1.2 × 10⁻⁹."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    exponent = math.floor(math.log10(abs(rounded)))
    if exponent < -4 or exponent > 6:
        return f"{rounded / 10.0**exponent:.1f} × {power_of_ten(exponent)}"
    return f"{rounded:,.{max(0, 2 - exponent)}f}" if exponent < 3 else f"{rounded:,.0f}"


def spoken(text: str) -> list[Content]:
    """Return a sentence with what stands between backticks as code."""
    return [tag("code", part) if at % 2 else part for at, part in enumerate(text.split("`"))]
