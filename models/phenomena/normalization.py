"""Section 3, BatchNorm and ReLU: they cure the slopes of sections 1 and 2 at initialization, all but a small rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import geometric_mean

from matplotlib.figure import Figure

from models.networks.chains import Chain, ChainGradients, decades_per_layer, gradients
from models.phenomena import style
from models.phenomena.section import Section, Statement, table

KEY = "normalization"
SCALES = (0.5, 1.0, 2.0)
THEORY = 0.5 * math.log10(math.pi / (math.pi - 1))
"""Decades per layer by which gradients grow with BatchNorm + ReLU at initialization (Yang et al. 2019): their
variance grows by π/(π−1)."""

Variant = tuple[str, str, float]
"""Activation, normalization, scale."""

VARIANTS: tuple[Variant, ...] = (
    ("sigmoid", "none", 1.0),
    ("sigmoid", "batch", 1.0),
    *(("relu", normalization, scale) for normalization in ("none", "batch") for scale in SCALES),
)


@dataclass(frozen=True)
class Measurement:
    """Several draws of every chain, by variant and depth."""

    draws: dict[tuple[Variant, int], list[ChainGradients]]

    @property
    def depths(self) -> list[int]:
        return sorted({depth for _, depth in self.draws})

    def slopes(self, variant: Variant, depth: int) -> list[float]:
        """Return, for each draw, by how much ‖dL/dz‖ changes towards the input, in decades per layer."""
        return [decades_per_layer(draw.activation_gradient) for draw in self.draws[variant, depth]]

    def slope(self, variant: Variant, depth: int) -> float:
        slopes = self.slopes(variant, depth)
        return sum(slopes) / len(slopes)


def measure(depths: tuple[int, ...] = (5, 10, 20, 40), draws: int = 8) -> Measurement:
    """Measure sigmoid and ReLU chains with and without BatchNorm, ReLU with three scales of its weights."""
    return Measurement(
        {
            (variant, depth): [
                gradients(Chain(variant[0], depth, variant[1], variant[2]), seed) for seed in range(draws)
            ]
            for variant in VARIANTS
            for depth in depths
        }
    )


def statements(measured: Measurement) -> tuple[Statement, ...]:
    depth = measured.depths[-1]
    bare = [measured.slope(("relu", "none", scale), depth) for scale in SCALES]
    normed = [measured.slope(("relu", "batch", scale), depth) for scale in SCALES]
    return (
        Statement(
            "scale_matters_without",
            f"ReLU without BatchNorm, {depth} layers: weights of 0.5, 1 and 2 times He's deviation differ in "
            "slope, in decades per layer, by",
            max(bare) - min(bare),
            "≥",
            0.5,
        ),
        Statement(
            "scale_does_not_matter_with",
            "with BatchNorm they differ by",
            max(normed) - min(normed),
            "≤",
            0.01,
        ),
        Statement(
            "sigmoid_cured",
            "BatchNorm alone holds the sigmoid chain as well: decades per layer, without sign",
            abs(measured.slope(("sigmoid", "batch", 1.0), depth)),
            "≤",
            0.05,
        ),
        Statement(
            "residue",
            "but BatchNorm + ReLU without shortcuts explodes slowly, as theory says (π/(π−1) in variance, "
            f"{THEORY:.3f} decades per layer): measured less theory, without sign",
            abs(normed[SCALES.index(1.0)] - THEORY),
            "≤",
            0.02,
        ),
        Statement(
            "exact_scale",
            "He's deviation is the one scale that needs no BatchNorm in a ReLU chain: decades per layer, without sign",
            abs(bare[SCALES.index(1.0)]),
            "≤",
            0.06,
        ),
    )


def draw(measured: Measurement) -> Figure:
    depth = measured.depths[-1]
    residue = measured.slope(("relu", "batch", 1.0), depth)
    figure, (profile, bars) = style.figure(
        f"BatchNorm makes the initial scale irrelevant; a slow growth of {residue:+.3f} decades per layer remains",
        columns=2,
        height=3.9,
        width_ratios=(3, 2),
    )
    colours = {0.5: style.SKY, 1.0: style.BLUE, 2.0: style.PURPLE}
    for variant in VARIANTS:
        activation, normalization, scale = variant
        colour = style.VERMILION if activation == "sigmoid" else colours[scale]
        by_layer = list(zip(*(chain.activation_gradient for chain in measured.draws[variant, depth]), strict=True))
        last = geometric_mean(by_layer[-1])
        profile.plot(
            range(1, depth + 1),
            [geometric_mean(norms) / last for norms in by_layer],
            color=colour,
            linestyle="-" if normalization == "batch" else "--",
            label=_label(variant),
        )
    profile.set(
        title=f"gradient by layer, {depth} layers (solid: BatchNorm)",
        yscale="log",
        xlabel="layer, from the input",
        ylabel="‖dL/dz‖₂, last layer = 1",
    )
    profile.legend(fontsize=7.5, ncols=2, loc="lower right")
    for position, variant in enumerate(reversed(VARIANTS)):
        slopes = measured.slopes(variant, depth)
        batch = variant[1] == "batch"
        bars.scatter(slopes, [position] * len(slopes), s=14, color=style.BLUE if batch else style.VERMILION, alpha=0.6)
    bars.axvline(0, color=style.BLACK, linewidth=0.8)
    bars.axvline(THEORY, color=style.GREY, linestyle=":", linewidth=1)
    bars.annotate(" π/(π−1)", (THEORY, len(VARIANTS) - 0.55), color=style.GREY, fontsize=8)
    bars.set_yticks(range(len(VARIANTS)), [_label(variant) for variant in reversed(VARIANTS)])
    bars.set(
        title="slope, one point per draw", xlabel="decades per layer towards the input", ylim=(-0.6, len(VARIANTS))
    )
    return figure


def _label(variant: Variant) -> str:
    activation, normalization, scale = variant
    name = {"relu": "ReLU", "sigmoid": "sigmoid"}[activation]
    return f"{name}{'' if scale == 1 else f' × {scale:g}'}{' + BN' if normalization == 'batch' else ''}"


def section(measured: Measurement) -> Section:
    depths = measured.depths
    return Section(
        position=3,
        key=KEY,
        title="BatchNorm and ReLU",
        figure=draw(measured),
        paragraphs=(
            "The chains of sections 1 and 2 again, with batch normalization before the activation (statistics "
            "of the 64 samples, differentiated as in training). The gradient's size no longer depends on the "
            "scale of the weights. It is no perfect cure: without shortcuts the gradient grows slowly towards "
            f"the input, by {measured.slope(('relu', 'batch', 1.0), depths[-1]):+.3f} decades per layer here, "
            "which stays harmless for tens of layers. And a healthy size says nothing about direction: section 6.",
        ),
        table=table(
            ["decades per layer towards the input", *(f"{depth} layers" for depth in depths)],
            [
                [_label(variant), *(f"{measured.slope(variant, depth):+.3f}" for depth in depths)]
                for variant in VARIANTS
            ],
        ),
        statements=statements(measured),
        command=f"python -m models phenomena --only {KEY}",
        served="`POST /diagnostics/compare?model=plain20&model=plain20-relu&model=plain20-sigmoid`",
    )
