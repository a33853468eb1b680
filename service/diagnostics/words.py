"""Numbers and names in words, as every sentence of a diagnosis writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

MOST_NAMED: Final = 3
"""Names that a sentence lists one by one."""
LEAST_DECIMAL: Final = 0.1
"""Ratios below it are written as a fraction of 1: 1/30."""


def factor(ratio: float) -> str:
    """Return a ratio of 1 or more with two digits: `8.9`, `20,000`, `10⁸`, `infinitely many`."""
    if math.isinf(ratio):
        return "infinitely many"
    if ratio >= 1e6:
        return power_of_ten(round(math.log10(ratio)))
    return f"{float(f'{ratio:.2g}'):,g}" if ratio < 10 else f"{round(ratio, 1 - int(math.log10(ratio))):,.0f}"


def times(ratio: float) -> str:
    """Return a ratio of 1 or more as an adjective: `8.9-fold`, `20,000-fold`, `10⁸-fold`."""
    return f"{factor(ratio)}-fold"


def multiple(ratio: float) -> str:
    """Return a ratio as it stands before a noun: `1.2 times`, `0.89 times`, `1/30 of`, `none of`."""
    if ratio == 0:
        return "none of"
    if ratio >= LEAST_DECIMAL:
        return f"{factor(ratio) if ratio >= 1 else f'{ratio:.2g}'} times"
    return f"1/{factor(1 / ratio)} of"


def pace(slope: float) -> str:
    """Return how fast something changes over the layers: `tenfold every 14 layers`, `6.3-fold with every layer`.

    Args:
        slope: powers of ten per layer, of either sign, not 0.
    """
    layers = 1 / abs(slope)
    if layers < 1.5:  # "every 1.2 layers" would have to be read twice
        return f"{times(10 ** abs(slope))} with every layer"
    return f"tenfold every {layers:.1f} layers" if layers < 10 else f"tenfold every {round(layers)} layers"


def percent(share: float) -> str:
    """Return `13 %`, and one digit more where whole percents would hide a share: `0.4 %`."""
    return f"{share:.0%}".replace("%", " %") if share >= 0.01 or share == 0 else f"{share:.1%}".replace("%", " %")


def power(decades: float) -> float:
    """Return 10^decades, infinite where that is beyond float64."""
    return 10.0**decades if decades < 308 else math.inf


def power_of_ten(exponent: int) -> str:
    """Return `10⁻³` for -3."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def listed(names: Sequence[str]) -> str:
    """Return layers by name: `layer stem`, `layers a, b and c`; many by their number: `16 layers from a to z`."""
    if len(names) > MOST_NAMED:
        return f"{len(names)} layers from {names[0]} to {names[-1]}"
    return f"layers {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"layer {names[0]}"


def plural(count: int, noun: str) -> str:
    """Return `1 layer`, `20 layers`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def sentence(text: str) -> str:
    """Return `text` with a capital at its beginning and a full stop at its end."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) or not text else ".")
