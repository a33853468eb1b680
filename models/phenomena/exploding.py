"""Section 2, exploding: a ReLU chain whose weights are twice too large, up to overflow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import geometric_mean

import torch
from matplotlib.figure import Figure

from models.networks.chains import Chain, ChainGradients, decades_per_layer, gradients
from models.phenomena import style
from models.phenomena.section import Section, Statement, number, table

KEY = "exploding"
SCALE = 2.0


@dataclass(frozen=True)
class SinglePrecision:
    """A float32 chain: the first layer's ‖dL/dz‖, summed in float64, and its square, summed in float32."""

    depth: int
    gradient: float
    square: float


@dataclass(frozen=True)
class Measurement:
    """Several draws of float64 chains by depth, and one float32 chain of every depth."""

    draws: dict[int, list[ChainGradients]]
    single: list[SinglePrecision]

    @property
    def deepest(self) -> int:
        return max(self.draws)

    def slope(self, depth: int) -> float:
        """Return by how much ‖dL/dz‖ changes towards the input, in decades per layer, mean over draws."""
        slopes = [decades_per_layer(draw.activation_gradient) for draw in self.draws[depth]]
        return sum(slopes) / len(slopes)

    def weight_gradient(self, depth: int) -> float:
        """Return ‖dL/dW‖, geometric mean over draws and layers."""
        return geometric_mean([norm for draw in self.draws[depth] for norm in draw.weight_gradient])

    def weight_gradient_spread(self, depth: int) -> float:
        """Return the largest layer's ‖dL/dW‖ over the smallest layer's, mean over draws."""
        ratios = [max(draw.weight_gradient) / min(draw.weight_gradient) for draw in self.draws[depth]]
        return sum(ratios) / len(ratios)

    def first_depth(self, quantity: str) -> float:
        """Return the smallest depth at which `gradient` or `square` is not finite in float32; inf without any."""
        return min(
            (chain.depth for chain in self.single if not math.isfinite(getattr(chain, quantity))), default=math.inf
        )


def measure(
    depths: tuple[int, ...] = (5, 10, 20, 40),
    draws: int = 8,
    overflow_depths: tuple[int, ...] = tuple(range(48, 145, 4)),
) -> Measurement:
    """Measure ReLU chains whose weights have twice He's deviation."""
    single = []
    for depth in overflow_depths:
        chain = gradients(Chain("relu", depth, scale=SCALE), dtype=torch.float32)
        single.append(SinglePrecision(depth, chain.activation_gradient[0], chain.single_precision_square[0]))
    by_depth = {
        depth: [gradients(Chain("relu", depth, scale=SCALE), seed) for seed in range(draws)] for depth in depths
    }
    return Measurement(by_depth, single)


def statements(measured: Measurement) -> tuple[Statement, ...]:
    depth = measured.deepest
    expected = math.log10(SCALE)
    return (
        Statement(
            "slope",
            f"decades per layer towards the input in the chain of {depth} layers, less log10 {SCALE:g} (twice "
            "the weight, twice the gradient), without its sign",
            abs(measured.slope(depth) - expected),
            "≤",
            0.03,
        ),
        Statement(
            "weights_alike",
            "every layer's *weight* gradient explodes alike, because activations grow forward as gradients do "
            f"backward: largest over smallest layer at {depth} layers",
            measured.weight_gradient_spread(depth),
            "≤",
            30.0,
        ),
        Statement(
            "overflow_order",
            "in float32 the sum of squares overflows before the gradient does: depth of the first over depth "
            "of the second",
            measured.first_depth("square") / measured.first_depth("gradient"),
            "≤",
            0.7,
        ),
        Statement(
            "overflow_depth",
            "layers at which float32 gives no finite gradient at all (it holds less than 2¹²⁸)",
            measured.first_depth("gradient"),
            "≤",
            136.0,
        ),
    )


def draw(measured: Measurement) -> Figure:
    depth = measured.deepest
    figure, (outputs, weights, overflow) = style.figure(
        f"Weights twice too large double the gradient at every layer: × {10 ** (measured.slope(depth) * depth):.0e} "
        f"in {depth}, past float32 in {measured.first_depth('gradient'):.0f}",
        columns=3,
        height=3.5,
    )
    for colour, other in zip(style.BLUE_BY_DEPTH, sorted(measured.draws), strict=False):
        for axis, quantity in ((outputs, "activation_gradient"), (weights, "weight_gradient")):
            by_layer = zip(*(getattr(chain, quantity) for chain in measured.draws[other]), strict=True)
            means = [geometric_mean(norms) for norms in by_layer]
            axis.plot(range(1, other + 1), means, color=colour, label=f"{other} layers", marker=".", markersize=3)
    outputs.set(title="of a layer's output", yscale="log", xlabel="layer, from the input", ylabel="‖dL/dz‖₂")
    outputs.legend()
    weights.set(title="of a layer's weight", yscale="log", xlabel="layer, from the input", ylabel="‖dL/dW‖₂")
    for quantity, label, colour in (
        ("gradient", "‖dL/dz₁‖₂", style.BLUE),
        ("square", "its square, summed in float32", style.VERMILION),
    ):
        finite = [chain for chain in measured.single if math.isfinite(getattr(chain, quantity))]
        values = [math.log10(getattr(chain, quantity)) for chain in finite]
        overflow.plot([chain.depth for chain in finite], values, color=colour, marker=".", label=label)
        if math.isfinite(measured.first_depth(quantity)):
            overflow.axvline(measured.first_depth(quantity), ymax=0.77, color=colour, linestyle=":")
    overflow.axhline(math.log10(torch.finfo(torch.float32).max), color=style.GREY, linestyle="--")
    across = overflow.get_yaxis_transform()
    overflow.text(0.3, 39.2, "largest float32", color=style.GREY, fontsize=7.5, transform=across)
    overflow.set(
        title="in float32 (dotted: no longer finite)", xlabel="depth, layers", ylabel="log₁₀ of the value", ylim=(0, 56)
    )
    overflow.legend(loc="upper left")
    return figure


def section(measured: Measurement) -> Section:
    depths = sorted(measured.draws)
    return Section(
        position=2,
        key=KEY,
        title="Exploding gradients",
        figure=draw(measured),
        paragraphs=(
            f"The same chains with rectifiers, their weights {SCALE:g} times He's deviation "
            f"({len(measured.draws[depths[0]])} draws in float64; one draw per depth in float32). Gradients "
            "grow towards the input as activations grow towards the output, so a look at the weights' "
            "gradients alone shows no slope along the layers, only a size that is out of all proportion.",
        ),
        table=table(
            ["", *(f"{depth} layers" for depth in depths)],
            [
                ["decades per layer, ‖dL/dz‖", *(f"{measured.slope(depth):+.3f}" for depth in depths)],
                ["‖dL/dW‖, mean over layers", *(number(measured.weight_gradient(depth)) for depth in depths)],
            ],
        ),
        statements=statements(measured),
        notes=(
            'The service never writes invalid JSON: a norm that is not finite is the string `"NaN"`, `"Infinity"` or '
            '`"-Infinity"`. It lowers the scale of the cotangent and runs again when only the sum of squares '
            'overflowed, so that `"Infinity"` means that the gradient itself did.',
        ),
        command=f"python -m models phenomena --only {KEY}",
        served="`POST /diagnostics/gradients?model=plain56-relu-exploding`",
    )
