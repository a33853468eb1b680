"""Section 6, shattering: the gradients of deep plain nets look like white noise (Balduzzi et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from models.networks.scalar_nets import (
    ScalarNet,
    autocorrelation,
    brown_noise,
    correlation_over_draws,
    derivatives,
    grid,
    white_noise,
)
from models.phenomena import style
from models.phenomena.section import Section, Statement, table
from models.phenomena.shattering_laws import BRANCH_SCALE, Law, draw_laws, law_statements, measure_laws

KEY = "shattering"
LAGS = 16

NETS = {
    "1 layer": ScalarNet("plain", 1),
    "24 layers, plain": ScalarNet("plain", 24, "centred"),
    "50 layers, residual": ScalarNet("residual", 50, "batch", branch_scale=BRANCH_SCALE),
}
LOOKS_LINEAR = "24 layers, looks linear"
CONTROLS = {
    LOOKS_LINEAR: ScalarNet("looks_linear", 24),
    "50 layers, plain": ScalarNet("plain", 50, "centred"),
    "24 layers, plain + BatchNorm": ScalarNet("plain", 24, "batch"),
    "24 layers, plain, not centred": ScalarNet("plain", 24),
    "50 layers, plain, not centred": ScalarNet("plain", 50),
}
COLOURS = {"1 layer": style.GREEN, "24 layers, plain": style.PLAIN, "50 layers, residual": style.RESIDUAL}


@dataclass(frozen=True)
class Measurement:
    """df/dx by net, white and brown noise in the same shape, [draws, points] each, and the theorems.

    Curves are means over the first `shown` draws.
    """

    gradients: dict[str, Tensor]
    shown: int
    laws: dict[str, Law]

    def lag(self, name: str, lag: int) -> float:
        """Return the autocorrelation at a lag, mean over the shown draws."""
        return float(self.curve(name)[lag])

    def curve(self, name: str) -> Tensor:
        """Return the autocorrelation for lags 0…15, mean over the shown draws: [16]."""
        return autocorrelation(self.gradients[name][: self.shown], LAGS).mean(0)

    def neighbours(self, name: str) -> float:
        """Return the smallest correlation, over initializations, between any two points of the grid."""
        return float(correlation_over_draws(self.gradients[name]).min())


def measure(draws: int = 200, shown: int = 20, theorem_draws: int = 20, points: int = 256) -> Measurement:
    """Measure all nets; like the paper, average autocorrelations over 20 draws (`shown`)."""
    gradients = {name: derivatives(net, draws, points) for name, net in NETS.items()}
    gradients |= {name: derivatives(net, shown, points) for name, net in CONTROLS.items()}
    gradients |= {"white noise": white_noise(draws, points), "brown noise": brown_noise(draws, points)}
    return Measurement(gradients, shown, measure_laws(theorem_draws))


def statements(measured: Measurement) -> tuple[Statement, ...]:
    plain, residual = "24 layers, plain", "50 layers, residual"
    return (
        Statement(
            "residual_above_plain",
            "lag-1 autocorrelation of the 50-layer residual net less that of the 24-layer plain net",
            measured.lag(residual, 1) - measured.lag(plain, 1),
            "≥",
            0.5,
        ),
        Statement(
            "plain_is_white",
            "lag-1 autocorrelation of the 24-layer plain net differs from white noise by",
            abs(measured.lag(plain, 1) - measured.lag("white noise", 1)),
            "≤",
            0.15,
        ),
        Statement(
            "shallow_is_brown",
            "lag-5 autocorrelation of the 1-layer net differs from brown noise by",
            abs(measured.lag("1 layer", 5) - measured.lag("brown noise", 5)),
            "≤",
            0.2,
        ),
        Statement(
            "residual_in_between",
            "lag-15 autocorrelation of the 50-layer residual net, between white (about 0) and brown noise",
            measured.lag(residual, 15),
            "≥",
            0.15,
        ),
        Statement(
            "looks_linear",
            'smallest correlation between any two points in the "looks linear" net of 24 layers: its gradient '
            "is one number",
            measured.neighbours(LOOKS_LINEAR),
            "≥",
            0.999,
        ),
        Statement(
            "centering_needed",
            "without centering, the 50-layer plain net does *not* shatter by this measure: lag-1 autocorrelation "
            "above the centred one's by",
            measured.lag("50 layers, plain, not centred", 1) - measured.lag("50 layers, plain", 1),
            "≥",
            0.4,
        ),
        *law_statements(measured.laws),
    )


def draw(measured: Measurement) -> Figure:
    columns = (*NETS, "brown noise", "white noise")
    figure, axes = style.mosaic(
        "24 plain layers shatter the gradient (lag-1 autocorrelation "
        f"{measured.lag('24 layers, plain', 1):.2f}), 50 residual ones do not "
        f"({measured.lag('50 layers, residual', 1):.2f})",
        [
            [f"gradient {name}" for name in columns for _ in range(2)],
            [f"correlation {name}" for name in columns for _ in range(2)],
            ["autocorrelation"] * 5 + ["laws"] * 5,
        ],
        height=7.8,
        height_ratios=(2, 3.2, 4.6),
    )
    # In steps of 0.1 the noise of 200 draws is one colour, and the file stays small.
    levels = colormaps["viridis"].resampled(10)
    for name in columns:
        gradient, matrix = axes[f"gradient {name}"], axes[f"correlation {name}"]
        gradient.plot(
            grid(measured.gradients[name].shape[1]), measured.gradients[name][0], color=_colour(name), linewidth=0.7
        )
        gradient.set(title=name, yticks=[0], xlim=(-2, 2), xticks=[-2, 0, 2])
        correlation = correlation_over_draws(measured.gradients[name])[::4, ::4].numpy()
        image = matrix.imshow(correlation, vmin=0, vmax=1, cmap=levels, extent=(-2, 2, 2, -2), interpolation="none")
        matrix.set(xticks=[-2, 0, 2], yticks=[-2, 0, 2], xlabel="x")
        matrix.grid(visible=False)
    axes[f"gradient {columns[0]}"].set_ylabel("df/dx, one draw")
    axes[f"correlation {columns[0]}"].set_ylabel("correlation, x′")
    figure.colorbar(image, ax=axes[f"correlation {columns[-1]}"], fraction=0.05, ticks=[0, 0.5, 1], format="%g")
    _draw_autocorrelation(axes["autocorrelation"], measured)
    draw_laws(axes["laws"], measured.laws)
    return figure


def _colour(name: str) -> str:
    return COLOURS.get(name, style.GREY)


def _draw_autocorrelation(axis: Axes, measured: Measurement) -> None:
    for name in NETS:
        axis.plot(measured.curve(name), color=_colour(name), marker=".", label=name)
    axis.plot(
        measured.curve("50 layers, plain, not centred"), color=style.PURPLE, label="50 layers, plain, not centred"
    )
    axis.plot(measured.curve("brown noise"), color=style.GREY, linestyle="--", label="brown noise")
    axis.plot(measured.curve("white noise"), color=style.GREY, linestyle=":", label="white noise")
    axis.set(
        title=f"autocorrelation of df/dx, mean of {measured.shown} draws",
        xlabel="lag, points of the grid",
        ylabel="autocorrelation",
        ylim=(-0.12, 1.62),
        yticks=[0, 0.5, 1],
    )
    axis.legend(ncols=2, loc="upper right", fontsize=7.5)


def section(measured: Measurement) -> Section:
    laws = measured.laws
    names = [name for name in (*NETS, *CONTROLS, "brown noise", "white noise") if name != LOOKS_LINEAR]
    rms = {name: float(measured.gradients[name].square().mean().sqrt()) for name in names}
    lags = (1, 5, 15)
    last = max(laws["residual, BN, β = 1"].predicted)
    return Section(
        position=6,
        key=KEY,
        title="Shattered gradients",
        figure=draw(measured),
        paragraphs=(
            "Balduzzi et al. 2017: nets from R to R, 200 rectifiers per hidden layer, 256 points of [−2, 2], "
            "weights and biases of variance 2/N, not trained. The plain nets are mean-centred, the residual "
            f"net has BatchNorm in its branches and β = {BRANCH_SCALE}; statistics are those of the 256 points, "
            f"not differentiated. Autocorrelations are means of {measured.shown} draws, correlation matrices of "
            f"{len(measured.gradients['1 layer'])}.",
            "Centering is not a detail. Without it a deep plain net maps all inputs onto one direction, its "
            "gradient hardly changes along x, and the laboratory shows no shattering at all, so both are "
            "drawn. With BatchNorm the plain net's gradients shatter *and* explode (root mean square in the table).",
        ),
        table=table(
            ["autocorrelation of df/dx", *(f"lag {lag}" for lag in lags), "r.m.s. df/dx"],
            [[name, *(f"{measured.lag(name, lag):.2f}" for lag in lags), f"{rms[name]:.3g}"] for name in names],
        ),
        statements=statements(measured),
        notes=(
            table(
                ["correlation of the gradients of two independent inputs", "theorem", "L", "theorem", "measured"],
                [
                    [name, law.formula, str(depth), f"{law.predicted[depth]:.4f}", f"{mean:.4f} ± {error:.4f}"]
                    for name, law in laws.items()
                    for depth, (mean, error) in law.measured.items()
                ],
            ),
            "Theorem 3 as it is usually quoted, 1/(β√(L+1)), exceeds 1 for β = 0.1 below L = 99 and so "
            "predicts nothing there; 1/√(1 + β²L), which agrees with it at β = 1 and for large β²L, is what "
            "the residual stream's variance 1 + β²l gives, and it is what is compared here. At β = 1 the "
            "measured correlation falls faster than either: by "
            f"{-laws['residual, BN, β = 1'].deviation(last):.0%} at L = {last}.",
        ),
        command=f"python -m models phenomena --only {KEY}",
        served="`POST /diagnostics/shattering` with two photographs",
    )
