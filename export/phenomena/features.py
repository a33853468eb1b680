"""Section 8: features by depth: how well each layer separates the classes of held-out photographs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from export.graph.names import MAP
from export.statistics.separability import mean_scores, pool, standardised
from models.phenomena import style
from models.phenomena.section import Section, Statement, table

KEY = "features"
BATCH_SIZE = 50
RIDGE = 0.1
"""Penalty of the ridge regression per photograph, on standardised features."""


@dataclass(frozen=True)
class LayerSeparation:
    """Shares of held-out photographs that two classifiers get right from one layer's pooled maps."""

    layer: str
    linear_probe: float
    nearest_mean: float


@dataclass(frozen=True)
class StrongestMaps:
    """A photograph and its strongest channels in an early, a middle and a late layer, [channels, h, w] each."""

    photograph: NDArray[np.uint8]
    maps: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Measurement:
    """Separation by model and layer, in forward order, and how many photographs fitted and judged the probes."""

    separation: dict[str, list[LayerSeparation]]
    fitted: int
    judged: int
    classes: int
    strongest: dict[str, StrongestMaps]


def pooled_maps(
    maps_session: onnxruntime.InferenceSession, inputs: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    """Average every convolution's maps over a 2 × 2 grid: float64 [n, 4·channels] by layer, in forward order."""
    names = map_names(maps_session)
    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for start in range(0, len(inputs), BATCH_SIZE):
        outputs = maps_session.run(names, {"input": inputs[start : start + BATCH_SIZE]})
        for name, values in zip(names, outputs, strict=True):
            found[name].append(pool(values))
    return {name.removeprefix(MAP): np.concatenate(parts).astype(np.float64) for name, parts in found.items()}


def map_names(maps_session: onnxruntime.InferenceSession) -> list[str]:
    """List the outputs that are maps of more than one position."""
    outputs = (output for output in maps_session.get_outputs() if output.name.startswith(MAP))
    return [output.name for output in outputs if len(output.shape) == 4 and output.shape[2] > 1]


def separation(
    layer: str, features: NDArray[np.float64], classes: NDArray[np.int64], fitting: NDArray[np.bool_]
) -> LayerSeparation:
    """Fit both classifiers on the photographs where `fitting` is true, and judge them on the others."""
    standard = standardised(features, fitting)
    known, unknown, truth = standard[fitting], standard[~fitting], classes[~fitting]
    targets = np.eye(int(classes.max()) + 1)[classes[fitting]]
    return LayerSeparation(
        layer,
        linear_probe=float((linear_scores(known, targets, unknown).argmax(1) == truth).mean()),
        nearest_mean=float((mean_scores(known, targets, unknown).argmax(1) == truth).mean()),
    )


def linear_scores(
    known: NDArray[np.float64], targets: NDArray[np.float64], unknown: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Score the classes by ridge regression on one-hot targets, in closed form: [n, classes]."""
    gram = known.T @ known + RIDGE * len(known) * np.eye(known.shape[1])
    weights = np.linalg.solve(gram, known.T @ (targets - targets.mean(axis=0)))
    scores: NDArray[np.float64] = unknown @ weights + targets.mean(axis=0)
    return scores


def strongest_maps(
    maps_session: onnxruntime.InferenceSession,
    photograph: NDArray[np.uint8],
    network_input: NDArray[np.float32],
    count: int,
) -> StrongestMaps:
    """Choose the `count` channels with the largest value in the first, a middle and the last layer with maps."""
    names = map_names(maps_session)
    chosen = [names[0], names[len(names) // 2], names[-1]]
    outputs = maps_session.run(chosen, {"input": network_input})
    maps = {}
    for name, values in zip(chosen, outputs, strict=True):
        peaks = values[0].max(axis=(1, 2))
        maps[name.removeprefix(MAP)] = values[0][np.argsort(-peaks, kind="stable")[:count]]
    return StrongestMaps(photograph, maps)


def statements(measured: Measurement) -> tuple[Statement, ...]:
    """State that every net separates the classes better with depth, and that a degraded one ends worse."""
    found = []
    for name, layers in measured.separation.items():
        for kind, rise in (
            ("linear probe", layers[-1].linear_probe - layers[0].linear_probe),
            ("nearest class mean", layers[-1].nearest_mean - layers[0].nearest_mean),
        ):
            key = f"rises_{name}_{kind.split()[0]}"
            found.append(
                Statement(key, f"{name}: accuracy of the {kind}, last convolution less first", rise, "≥", 0.05)
            )
    if {"plain56", "resnet56"} <= set(measured.separation):
        plain, residual = (measured.separation[f"{family}56"][-1].linear_probe for family in ("plain", "resnet"))
        sentence = "56 layers, same training: accuracy of the probe on the last convolution, residual less plain"
        found.append(Statement("degraded", sentence, residual - plain, "≥", 0.04))
    return tuple(found)


def draw(measured: Measurement) -> Figure:
    """Draw accuracy by depth, and one photograph with its strongest channels."""
    models = list(measured.separation)
    name = next(iter(measured.strongest))
    strongest = measured.strongest[name]
    channels = len(next(iter(strongest.maps.values())))
    ends = ", ".join(f"{model} {100 * layers[-1].linear_probe:.0f} %" for model, layers in measured.separation.items())
    layout = [["curves"] * 8 + ["photograph"] * 2 + ["."] * 2 * (channels - 1)]
    layout += [
        ["curves"] * 8 + [f"{layer} {channel}" for channel in range(channels) for _ in range(2)]
        for layer in strongest.maps
    ]
    figure, axes = style.mosaic(f"Classes separate by depth; a probe ends at: {ends}", layout, height=4.6)
    _draw_curves(axes["curves"], measured, models)
    axes["photograph"].imshow(strongest.photograph, interpolation="none")
    axes["photograph"].set_title(f"photograph, and {name}'s strongest channels", fontsize=8)
    axes["photograph"].set_axis_off()
    for layer, maps in strongest.maps.items():
        for channel, values in enumerate(maps):
            axis = axes[f"{layer} {channel}"]
            axis.imshow(values, cmap="viridis", interpolation="none")
            axis.set_axis_off()
        axes[f"{layer} 0"].set_title(f"{layer}, {maps.shape[1]}×{maps.shape[2]}", fontsize=8)
    return figure


def _draw_curves(axis: Axes, measured: Measurement, models: list[str]) -> None:
    for model in models:
        layers = measured.separation[model]
        colour = style.RESIDUAL if model.startswith("resnet") else style.PLAIN
        width = 2.2 if model.endswith("56") else 1.2
        positions = [at / (len(layers) - 1) for at in range(len(layers))]
        axis.plot(positions, [100 * one.linear_probe for one in layers], color=colour, linewidth=width, label=model)
        axis.plot(positions, [100 * one.nearest_mean for one in layers], color=colour, linewidth=width, linestyle=":")
    axis.axhline(100 / measured.classes, color=style.GREY, linestyle="--", linewidth=1)
    axis.annotate("chance", (0.02, 100 / measured.classes + 1), color=style.GREY, fontsize=8)
    axis.set(
        title="held-out photographs (solid: probe, dotted: class mean)",
        xlabel="share of the depth, from the input",
        ylabel="accuracy, %",
        ylim=(0, 100),
    )
    axis.legend(loc="upper left")


def _first_half(layers: list[LayerSeparation]) -> float:
    """Return how much of the linear probe's gain from the first layer to the last is made at half the depth, in %."""
    first, half, last = (layers[at].linear_probe for at in (0, round((len(layers) - 1) / 2), -1))
    return 100 * (half - first) / (last - first)


def section(measured: Measurement, command: str) -> Section:
    """Write the section; `command` is the one that measured it."""
    head = ["network", "", *(f"{share:.0%} of depth" for share in (0, 0.25, 0.5, 0.75, 1))]
    rows = []
    for model, layers in measured.separation.items():
        at = [round(share * (len(layers) - 1)) for share in (0, 0.25, 0.5, 0.75, 1)]
        rows.append([model, "linear probe", *(f"{100 * layers[index].linear_probe:.1f} %" for index in at)])
        rows.append([model, "nearest mean", *(f"{100 * layers[index].nearest_mean:.1f} %" for index in at)])
    error = 100 * (0.25 / measured.judged) ** 0.5
    return Section(
        position=8,
        key=KEY,
        title="Features by depth",
        figure=draw(measured),
        paragraphs=(
            "Each convolution's output after its rectifier, where it has one, averaged over a 2 × 2 grid, on "
            f"photographs that no network was trained on: {measured.fitted} fit a linear probe (ridge "
            f"regression on one-hot targets) and the class means, {measured.judged} others judge them (standard "
            f"error at most {error:.1f} points). The number of features doubles with each stage, as the "
            "channels do. Early layers hold edges and colours that every class shares; what tells the classes "
            "apart is made between the first layer and the last.",
            "Of what the probe gains over the depth, the first half of the layers brings "
            f"{', '.join(f'{_first_half(layers):.0f} % in {model}' for model, layers in measured.separation.items())}. "
            "Where that is nearly all, the layers of the second half hardly add to it.",
        ),
        table=table(head, rows),
        statements=statements(measured),
        command=command,
        served="`POST /diagnostics/features`",
    )
