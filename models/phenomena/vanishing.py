"""Section 1, vanishing: what a sigmoid's derivative does to the gradient of a deep chain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import geometric_mean

import numpy as np
from matplotlib.figure import Figure

from models.networks.chains import Chain, ChainGradients, decades_per_layer, gradients
from models.phenomena import style
from models.phenomena.section import Section, Statement, number, table

KEY = "vanishing"
LARGEST_SLOPE = 0.25
"""σ′(z) = σ(z)(1 − σ(z)) at z = 0."""


@dataclass(frozen=True)
class Measurement:
    """Several draws of every chain, by (activation, depth)."""

    draws: dict[tuple[str, int], list[ChainGradients]]

    @property
    def deepest(self) -> int:
        return max(depth for _, depth in self.draws)

    def slope(self, activation: str, depth: int) -> float:
        """Return by how much ‖dL/dz‖ changes towards the input, in decades per layer, mean over draws."""
        slopes = [decades_per_layer(draw.activation_gradient) for draw in self.draws[activation, depth]]
        return sum(slopes) / len(slopes)

    def fall(self, activation: str, depth: int) -> float:
        """Return the first layer's ‖dL/dz‖ over the last layer's, geometric mean over draws."""
        ratios = (draw.activation_gradient[0] / draw.activation_gradient[-1] for draw in self.draws[activation, depth])
        return geometric_mean(ratios)

    def largest_share_of_bound(self) -> float:
        """Return the largest ‖dL/dz_l‖ / (0.25·‖W_{l+1}‖₂·‖dL/dz_{l+1}‖) over layers and draws of sigmoid chains."""
        return max(
            here / (LARGEST_SLOPE * spectral * above)
            for (activation, _), draws in self.draws.items()
            if activation == "sigmoid"
            for draw in draws
            for here, spectral, above in zip(
                draw.activation_gradient, draw.spectral_norm[1:], draw.activation_gradient[1:], strict=False
            )
        )

    def bound_slope(self, depth: int) -> float:
        """Return the slope, in decades per layer, of the bound 0.25·‖W‖₂ with the largest ‖W‖₂ of the draws."""
        spectral = [norm for draw in self.draws["sigmoid", depth] for norm in draw.spectral_norm]
        return math.log10(LARGEST_SLOPE * max(spectral))

    def lost_in_single_precision(self, depth: int) -> int:
        """Count layers of the first sigmoid draw whose sum of squares is 0 in float32, though no gradient is."""
        return sum(square == 0 for square in self.draws["sigmoid", depth][0].single_precision_square)


def measure(depths: tuple[int, ...] = (5, 10, 20, 40), draws: int = 8) -> Measurement:
    """Measure sigmoid, tanh and ReLU chains, each as it is usually initialized."""
    return Measurement(
        {
            (activation, depth): [gradients(Chain(activation, depth), seed) for seed in range(draws)]
            for activation in ("sigmoid", "tanh", "relu")
            for depth in depths
        }
    )


def statements(measured: Measurement) -> tuple[Statement, ...]:
    """State what the section claims; one decade per layer is a factor of 10 per layer."""
    depth = measured.deepest
    return (
        Statement(
            "bound",
            "at every layer of every draw the sigmoid chain keeps ‖dL/dz_l‖ ≤ 0.25·‖W‖₂·‖dL/dz_{l+1}‖; "
            "largest share of the bound reached",
            measured.largest_share_of_bound(),
            "≤",
            1.0,
        ),
        Statement(
            "sigmoid_slope",
            f"the sigmoid chain of {depth} layers changes by so many decades per layer towards the input",
            measured.slope("sigmoid", depth),
            "≤",
            -0.5,
        ),
        Statement(
            "same_slope",
            "the loss per layer does not depend on the depth: largest difference of slope between two depths, "
            "in decades",
            max(measured.slope("sigmoid", other) for name, other in measured.draws if name == "sigmoid")
            - min(measured.slope("sigmoid", other) for name, other in measured.draws if name == "sigmoid"),
            "≤",
            0.1,
        ),
        Statement(
            "relu_slope",
            f"He-initialized ReLU at the same depth of {depth}: steepest change in either direction, in decades "
            "per layer",
            abs(measured.slope("relu", depth)),
            "≤",
            0.06,
        ),
        Statement(
            "tanh_slope",
            f"tanh, whose derivative is 1 at 0, at the same depth of {depth}: decades per layer",
            abs(measured.slope("tanh", depth)),
            "≤",
            0.06,
        ),
    )


def draw(measured: Measurement) -> Figure:
    depth = measured.deepest
    figure, (curves, slopes, profile) = style.figure(
        f"A sigmoid chain loses a factor {10 ** -measured.slope('sigmoid', depth):.1f} of its gradient per layer: "
        f"{measured.fall('sigmoid', depth):.0e} is left after {depth}",
        columns=3,
        height=3.7,
    )
    z = np.linspace(-6, 6, 121)
    sigmoid = 1 / (1 + np.exp(-z))
    for values, label, colour in (
        (sigmoid, "sigmoid", style.VERMILION),
        (np.tanh(z), "tanh", style.GREEN),
        (np.maximum(z, 0), "ReLU", style.BLUE),
    ):
        curves.plot(z, values, color=colour, label=label)
    curves.set(title="activation", xlabel="z", ylabel="activation(z)", ylim=(-1.1, 2.2))
    curves.legend()
    for values, label, colour in (
        (sigmoid * (1 - sigmoid), "sigmoid, at most 0.25", style.VERMILION),
        (1 - np.tanh(z) ** 2, "tanh, 1 at 0", style.GREEN),
        ((z > 0).astype(float), "ReLU, 0 or 1", style.BLUE),
    ):
        slopes.plot(z, values, color=colour, label=label, drawstyle="steps-mid" if "ReLU" in label else None)
    slopes.set(title="its derivative", xlabel="z", ylabel="activation′(z)", ylim=(-0.03, 1.45))
    slopes.legend(loc="upper left")
    depths = sorted(other for name, other in measured.draws if name == "sigmoid")
    for colour, other in zip(style.VERMILION_BY_DEPTH, depths, strict=False):
        profile.plot(*_profile(measured, "sigmoid", other), color=colour, label=f"sigmoid, {other} layers")
    norms = _profile(measured, "sigmoid", depth)[1]
    spectral = [draw.spectral_norm for draw in measured.draws["sigmoid", depth]]
    steps = np.log10(LARGEST_SLOPE * np.mean(spectral, axis=0))
    bound = math.log10(norms[-1]) + np.concatenate([np.cumsum(steps[:0:-1])[::-1], [0.0]])
    profile.plot(range(1, depth + 1), 10**bound, color=style.GREY, linestyle="--", label="bound 0.25·‖W‖₂ per layer")
    profile.plot(*_profile(measured, "relu", depth), color=style.BLUE, label=f"ReLU, {depth} layers")
    profile.set(title="gradient by layer", yscale="log", xlabel="layer, from the input", ylabel="‖dL/dz‖₂")
    profile.legend(fontsize=7)
    return figure


def _profile(measured: Measurement, activation: str, depth: int) -> tuple[range, list[float]]:
    by_layer = zip(*(draw.activation_gradient for draw in measured.draws[activation, depth]), strict=True)
    return range(1, depth + 1), [geometric_mean(norms) for norms in by_layer]


def section(measured: Measurement) -> Section:
    depth = measured.deepest
    depths = sorted(other for name, other in measured.draws if name == "sigmoid")
    lost = measured.lost_in_single_precision(depth)
    steep_until = math.log((1 + math.sqrt(0.6)) / (1 - math.sqrt(0.6)))  # where σ′(z) = 0.1
    return Section(
        position=1,
        key=KEY,
        title="Vanishing gradients",
        figure=draw(measured),
        paragraphs=(
            "Backpropagation multiplies by the activation's derivative and by the weights once per layer. The "
            f"sigmoid's derivative is at most {LARGEST_SLOPE} and above 0.1 only within |z| < "
            f"{steep_until:.2f}, so each layer may pass on at most 0.25·‖W‖₂ of what it receives. Measured on "
            "chains of fully connected layers at initialization (width 64, Glorot's deviation for sigmoid and "
            f"tanh, He's for ReLU, {len(measured.draws['sigmoid', depth])} draws, 64 Gaussian inputs with "
            "random labels, float64).",
            "The bound with the largest ‖W‖₂ of these draws allows no less than "
            f"{measured.bound_slope(depth):+.2f} decades per layer; the gradient does not line up with the "
            f"largest singular direction and falls by {measured.slope('sigmoid', depth):+.2f}.",
        ),
        table=table(
            ["decades per layer towards the input", *(f"{other} layers" for other in depths)],
            [
                [activation, *(f"{measured.slope(activation, other):+.3f}" for other in depths)]
                for activation in ("sigmoid", "tanh", "relu")
            ],
        ),
        statements=statements(measured),
        notes=(
            f"In float32 the sum of squares of such a gradient underflows: at {depth} layers {lost} of them would be "
            "reported as exactly 0, although the gradient is not. The exported graphs therefore take the scale of the "
            "cotangent as an input (the loss is linear in it), and the service runs again with a larger one "
            "where a layer underflows. First over last layer in the deepest sigmoid chain: "
            f"{number(measured.fall('sigmoid', depth))}.",
        ),
        command=f"python -m models phenomena --only {KEY}",
        served="`POST /diagnostics/gradients?model=plain20-sigmoid`",
    )
