"""Section 7: shattering on image classifiers, by the input gradient along a path between two photographs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch.nn import functional

from models.networks.network import Network
from models.phenomena import style
from models.phenomena.section import Section, Statement, table

KEY = "path"
BATCH_SIZE = 32
InputGradient = Callable[[NDArray[np.float32], int], NDArray[np.float32]]
"""Inputs [n, …] and the class of the loss → dL/dx, the same shape."""
Pair = tuple[NDArray[np.float32], NDArray[np.float32], int]
"""Two photographs as inputs, and the first one's class."""


@dataclass(frozen=True)
class PathGradients:
    """One model's autocorrelation of unit gradients, [paths, lags], and the first path's cosines, [points, points]."""

    autocorrelation: NDArray[np.float64]
    cosine: NDArray[np.float64]

    def lag(self, lag: int) -> tuple[float, float]:
        """Return the autocorrelation at a lag, mean over the paths, and its standard error."""
        values = self.autocorrelation[:, lag]
        return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


@dataclass(frozen=True)
class Measurement:
    """Results by model, trained and untrained, and the autocorrelation of white and brown noise, [lags] each."""

    trained: dict[str, PathGradients]
    untrained: dict[str, PathGradients]
    white: NDArray[np.float64]
    brown: NDArray[np.float64]
    points: int

    @property
    def paths(self) -> int:
        return len(next(iter(self.trained.values())).autocorrelation)

    def difference(self, depth: int) -> tuple[float, float] | None:
        """Subtract the trained plain net's lag-1 autocorrelation from the residual one's, path by path.

        Returns the mean over the paths and its standard error; None where one of the two has no bundle.
        """
        pair = [self.trained.get(f"{family}{depth}") for family in ("resnet", "plain")]
        if pair[0] is None or pair[1] is None:
            return None
        values = pair[0].autocorrelation[:, 1] - pair[1].autocorrelation[:, 1]
        return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def path_gradients(gradient: InputGradient, pairs: list[Pair], points: int, lags: int) -> PathGradients:
    """Measure unit gradients of the loss for the first photograph's class along the path of each pair."""
    series = [unit(gradient(straight_path(first, second, points), label)) for first, second, label in pairs]
    return PathGradients(np.stack([autocorrelation(one, lags) for one in series]), series[0] @ series[0].T)


def gradient_of_bundle(gradient_session: onnxruntime.InferenceSession) -> InputGradient:
    """Compute dL/dx by the bundle's `input_gradient` graph."""

    def gradient(inputs: NDArray[np.float32], label: int) -> NDArray[np.float32]:
        found = []
        for start in range(0, len(inputs), BATCH_SIZE):
            batch = inputs[start : start + BATCH_SIZE]
            feed = {
                "input": batch,
                "label": np.full(len(batch), label, dtype=np.int64),
                "cotangent_scale": np.ones(len(batch), dtype=np.float32),
            }
            found.append(gradient_session.run(["input_gradient"], feed)[0])
        return np.concatenate(found)

    return gradient


def gradient_of_network(network: Network) -> InputGradient:
    """Compute dL/dx by torch, for a network without a bundle."""

    def gradient(inputs: NDArray[np.float32], label: int) -> NDArray[np.float32]:
        images = torch.from_numpy(inputs).requires_grad_()
        loss = functional.cross_entropy(network(images), torch.full((len(inputs),), label), reduction="sum")
        slope: NDArray[np.float32] = torch.autograd.grad(loss, images)[0].numpy()
        return slope

    return gradient


def unit(gradients: NDArray[np.float32]) -> NDArray[np.float64]:
    """Flatten each gradient and divide it by its norm: [points, …] → float64 [points, numbers of the input]."""
    flat = gradients.reshape(len(gradients), -1).astype(np.float64)
    divided: NDArray[np.float64] = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return divided


def straight_path(first: NDArray[np.float32], second: NDArray[np.float32], points: int) -> NDArray[np.float32]:
    """Interpolate `points` inputs from the first to the second, both included: [points, …]."""
    share = np.linspace(0, 1, points, dtype=np.float32).reshape(-1, *[1] * first.ndim)
    mixed: NDArray[np.float32] = (1 - share) * first + share * second
    return mixed


def autocorrelation(series: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """Autocorrelate vectors [points, d] about their mean: Σ_i ⟨s_i, s_{i+k}⟩ / Σ_i ‖s_i‖² for lags k < `lags`."""
    centred = series - series.mean(axis=0)
    products = centred @ centred.T
    result: NDArray[np.float64] = np.array([np.trace(products, offset=lag) for lag in range(lags)]) / np.trace(products)
    return result


def references(points: int, lags: int, width: int = 512) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate the autocorrelation of white noise and of a random walk in `width` dimensions in the same way."""
    white = np.random.default_rng(0).normal(size=(points, width))
    return autocorrelation(white, lags), autocorrelation(white.cumsum(axis=0), lags)


def statements(measured: Measurement) -> tuple[Statement, ...]:
    """State that the families differ before training, and that none is white noise after it.

    Nothing is stated about which of two trained nets has the larger autocorrelation.
    """
    found = []
    for depth, margin in ((20, 0.2), (56, 0.3)):
        residual, plain = (measured.untrained.get(f"{family}{depth}") for family in ("resnet", "plain"))
        if residual and plain:
            found.append(
                Statement(
                    f"untrained_{depth}",
                    f"before training, {depth} layers: lag-1 autocorrelation of the residual net less the plain one's",
                    residual.lag(1)[0] - plain.lag(1)[0],
                    "≥",
                    margin,
                )
            )
    if "plain56" in measured.untrained:
        found.append(
            Statement(
                "untrained_plain_is_white",
                "before training, plain56's lag-1 autocorrelation differs from white noise by",
                abs(measured.untrained["plain56"].lag(1)[0] - float(measured.white[1])),
                "≤",
                0.05,
            )
        )
    found += [
        Statement(
            f"trained_{name}", f"{name}, trained: lag-1 autocorrelation", measured.trained[name].lag(1)[0], "≥", 0.5
        )
        for name in measured.trained
    ]
    return tuple(found)


def draw(measured: Measurement) -> Figure:
    """Draw the autocorrelations, and the cosines along the first path before and after training."""
    columns = [f"{family}{depth}" for depth in (20, 56) for family in ("plain", "resnet")]
    shown = [name for name in columns if name in measured.untrained]
    deepest = max(int(name.removeprefix("plain").removeprefix("resnet")) for name in shown)
    plain, residual = (measured.untrained[f"{family}{deepest}"].lag(1)[0] for family in ("plain", "resnet"))
    figure, axes = style.mosaic(
        f"{deepest} layers before training: plain is white noise (lag 1: {plain:.2f}), residual is not "
        f"({residual:.2f}); training smooths both",
        [["autocorrelation"] * 4 + [f"{state} {name}" for name in shown] for state in ("untrained", "trained")],
        height=4.4,
    )
    curves = axes["autocorrelation"]
    for name in shown:
        colour = style.RESIDUAL if name.startswith("resnet") else style.PLAIN
        width = 2.2 if name.endswith("56") else 1.2
        curves.plot(measured.untrained[name].autocorrelation.mean(0), color=colour, linestyle="--", linewidth=width)
        if name in measured.trained:
            mean = measured.trained[name].autocorrelation.mean(0)
            curves.plot(mean, color=colour, linewidth=width, label=name)
        else:
            curves.plot([], [], color=colour, linewidth=width, label=f"{name} (no bundle)")
    curves.plot(measured.brown, color=style.GREY, linestyle="-.", label="brown noise")
    curves.plot(measured.white, color=style.GREY, linestyle=":", label="white noise")
    curves.set(
        title="input gradient (dashed: before training)",
        xlabel=f"lag, points of {measured.points} on the path",
        ylabel="autocorrelation",
    )
    curves.legend()
    for state, models in (("untrained", measured.untrained), ("trained", measured.trained)):
        for name in shown:
            axis = axes[f"{state} {name}"]
            axis.set_axis_off()
            axis.set_title(f"{name}\n{state}", fontsize=8)
            if name in models:
                axis.imshow(models[name].cosine, vmin=0, vmax=1, cmap="viridis", interpolation="none")
    return figure


def section(measured: Measurement, command: str) -> Section:
    """Write the section; `command` is the one that measured it."""
    lags = (1, 5, 15)
    rows = [
        [name, state, *("{:.3f} ± {:.3f}".format(*models[name].lag(lag)) for lag in lags)]
        for state, models in (("before training", measured.untrained), ("trained", measured.trained))
        for name in models
    ]
    references = (("white noise", measured.white), ("brown noise", measured.brown))
    rows += [[name, "", *(f"{values[lag]:.3f}" for lag in lags)] for name, values in references]
    notes = [
        f"Trained, {depth} layers, residual less plain at lag 1 over the same paths: {found[0]:+.4f} ± {found[1]:.4f}."
        for depth in (20, 56)
        if (found := measured.difference(depth))
    ]
    return Section(
        position=7,
        key=KEY,
        title="Shattering on image classifiers, before and after training",
        figure=draw(measured),
        paragraphs=(
            f"{measured.points} points on the straight line between two photographs of different classes, "
            f"{measured.paths} pairs; at each the gradient of the loss for the first one's class with respect to the "
            "input, divided by its norm. Autocorrelation about the path's mean, summed over the input's numbers, ± the "
            "standard error over pairs; right, the cosine between any two points of the first path. Trained: "
            "the shipped bundles through ONNX Runtime. Before training: the same definitions at "
            "initialization, BatchNorm statistics taken from the photographs.",
            "Shattering is a property of initialization, where a deep plain net has to start from. Training leaves a "
            "smoother function in all of them; what difference between the families remains is measured below.",
        ),
        table=table(["network", "", *(f"lag {lag}" for lag in lags)], rows),
        statements=statements(measured),
        notes=tuple(notes),
        command=command,
        served="`POST /diagnostics/shattering?model=plain20` with two photographs",
    )
