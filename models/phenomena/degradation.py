"""Section 4, degradation: deeper plain nets train worse, and not because their gradients vanish."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import mean, median, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.phenomena import style
from models.phenomena.section import Section, Statement, number, table

KEY = "degradation"
COLOURS = {"resnet": style.RESIDUAL, "plain": style.PLAIN}


@dataclass(frozen=True)
class SeedResult:
    """Final training error of one small run."""

    model: str
    seed: int
    train_error: float


@dataclass(frozen=True)
class Measurement:
    """Training records by model, as in a bundle's `training`, and the small runs of `seeds.py` if there are any."""

    records: Mapping[str, Mapping[str, Any]]
    seeds: tuple[SeedResult, ...] = ()
    seeds_setup: str = ""

    def final(self, model: str, quantity: str = "train_error") -> float:
        """Return the finished network's error or loss on images that are not augmented."""
        return float(self.records[model]["final"][quantity])

    def gap(self, depth: int, quantity: str = "train_error") -> float:
        """Return the plain net's value less the residual net's, with the same recipe and epochs."""
        return self.final(f"plain{depth}", quantity) - self.final(f"resnet{depth}", quantity)

    def flattest(self, model: str) -> float:
        """Return the weakest layer's ‖dL/dW‖ over the median layer's, in the epoch where it is smallest."""
        ratios: list[float] = []
        for epoch in self.records[model]["epochs"]:
            norms = [norm for norm in epoch["gradient_norms"].values() if norm is not None]
            ratios.append(min(norms) / median(norms))
        return min(ratios)

    def by_seed(self, model: str) -> list[float]:
        """Return the training errors of the small runs, in the order of their seeds."""
        return [run.train_error for run in sorted(self.seeds, key=lambda run: run.seed) if run.model == model]


def standard_error(share: float, images: int = 10_000) -> float:
    """Return the standard error of an error rate over test images; another seed's training is not in it."""
    return math.sqrt(share * (1 - share) / images)


def statements(measured: Measurement) -> tuple[Statement, ...]:
    """State the signs of differences in training error; statements on a model that is missing are left out."""
    found = []
    if {"plain56", "resnet56", "plain20", "resnet20"} <= set(measured.records):
        found += [
            Statement(
                "deep_gap",
                "56 layers, same recipe and epochs: final training error, plain less residual",
                measured.gap(56),
                "≥",
                0.02,
            ),
            Statement(
                "gap_grows",
                "the shortcut matters more with depth: that difference at 56 layers less the one at 20",
                measured.gap(56) - measured.gap(20),
                "≥",
                0.0,
            ),
        ]
    if "plain56" in measured.records:
        found.append(
            Statement(
                "not_vanishing",
                "and it is not vanishing: over all epochs of plain56 the weakest layer's ‖dL/dW‖ is never less "
                "than this share of the median layer's",
                measured.flattest("plain56"),
                "≥",
                0.01,
            )
        )
    if "plain20-sigmoid" in measured.records:
        found.append(
            Statement(
                "sigmoid_vanishes",
                "what vanishing looks like by the same measure: plain20-sigmoid",
                measured.flattest("plain20-sigmoid"),
                "≤",
                1e-4,
            )
        )
    return (*found, *_seed_statements(measured))


def _seed_statements(measured: Measurement) -> Iterable[Statement]:
    plain, residual = measured.by_seed("plain56"), measured.by_seed("resnet56")
    shallow = measured.by_seed("plain20")
    if plain and shallow:
        yield Statement(
            "seeds_degradation",
            f"small runs, {len(plain)} seeds, equal budget: smallest difference over seeds of the training error of "
            "plain56 less plain20 (He et al.'s degradation)",
            min(deep - low for deep, low in zip(plain, shallow, strict=True)),
            "≥",
            0.0,
        )
    if plain and residual:
        yield Statement(
            "seeds_residual",
            f"small runs, {len(plain)} seeds: smallest difference over seeds of plain56 less resnet56",
            min(bare - short for bare, short in zip(plain, residual, strict=True)),
            "≥",
            0.0,
        )


def draw(measured: Measurement) -> Figure:
    depths = [depth for depth in (20, 56) if {f"plain{depth}", f"resnet{depth}"} <= set(measured.records)]
    gaps = ", ".join(f"{100 * measured.gap(depth):.1f} points at {depth}" for depth in depths)
    figure, axes = style.figure(
        f"Training error, plain less residual: {gaps}; with BatchNorm no gradient vanishes",
        columns=len(depths) + 1,
        height=3.6,
    )
    for axis, depth in zip(axes, depths, strict=False):
        _draw_curves(axis, measured, depth)
    _draw_norms(axes[-1], measured)
    return figure


def _draw_curves(axis: Axes, measured: Measurement, depth: int) -> None:
    for family, colour in COLOURS.items():
        epochs = measured.records[f"{family}{depth}"]["epochs"]
        numbers = [epoch["epoch"] for epoch in epochs]
        axis.plot(
            numbers, [100 * epoch["train_error"] for epoch in epochs], color=colour, label=f"{family}{depth}, training"
        )
        axis.plot(
            numbers,
            [100 * epoch["test_error"] for epoch in epochs],
            color=colour,
            linestyle=":",
            label=f"{family}{depth}, test",
        )
        axis.plot(numbers[-1], 100 * measured.final(f"{family}{depth}"), color=colour, marker="o", markersize=4)
    axis.set(
        title=f"{depth} layers (dot: not augmented)",
        xlabel="epoch",
        ylabel="error, %",
        ylim=(0, 120),  # room for the legend
        yticks=range(0, 101, 20),
    )
    axis.legend(fontsize=7.5, loc="upper right")


def _draw_norms(axis: Axes, measured: Measurement) -> None:
    colours = {
        "plain56": style.PLAIN,
        "resnet56": style.RESIDUAL,
        "plain20": style.ORANGE,
        "plain20-sigmoid": style.BLACK,
    }
    for model, colour in colours.items():
        if model not in measured.records:
            continue
        epochs = measured.records[model]["epochs"]
        for epoch in (epochs[0], epochs[-1]):
            norms = [norm if norm else math.nan for norm in epoch["gradient_norms"].values()]
            axis.plot(
                [(at + 0.5) / len(norms) for at in range(len(norms))],
                [norm / median(norms) for norm in norms],
                color=colour,
                linestyle="--" if epoch is epochs[0] else "-",
                label=None if epoch is epochs[0] else model,
            )
    axis.set(
        title="‖dL/dW‖ by layer (dashed: first epoch)",
        yscale="log",
        xlabel="share of the depth, from the input",
        ylabel="over the median layer's",
    )
    axis.legend(loc="lower right")


def section(measured: Measurement, command: str) -> Section:
    """Write the section on the records that are there; `command` is the one that read them."""
    models = [name for name in ("resnet20", "plain20", "resnet56", "plain56") if name in measured.records]
    data_set = measured.records[models[0]]["data_set"]
    return Section(
        position=4,
        key=KEY,
        title="Degradation",
        figure=draw(measured),
        paragraphs=(
            f"The shipped networks on {data_set}, one seed each. Within a depth, plain and residual net have the same "
            "parameters, recipe and epochs; between the depths the epochs differ ("
            + ", ".join(f"{name}: {len(measured.records[name]['epochs'])}" for name in models)
            + "), so 20 and 56 layers are not compared with each other here. Test errors carry the sampling error of "
            "the test images; what another seed would change is not in it"
            + (" and is what the small runs below measure." if measured.seeds else "."),
        ),
        table=table(
            [
                "network",
                "epochs",
                "final training error",
                "final test error",
                "weakest over median ‖dL/dW‖, worst epoch",
            ],
            [
                [
                    name,
                    str(len(measured.records[name]["epochs"])),
                    f"{100 * measured.final(name):.2f} %",
                    f"{100 * measured.final(name, 'test_error'):.2f} ± "
                    f"{100 * standard_error(measured.final(name, 'test_error')):.2f} %",
                    number(measured.flattest(name)),
                ]
                for name in models
            ],
        ),
        statements=statements(measured),
        notes=_seed_notes(measured),
        command=command,
        served="`GET /models/plain56`, and `POST /diagnostics/compare?model=resnet56&model=plain56`",
    )


def _seed_notes(measured: Measurement) -> tuple[str, ...]:
    if not measured.seeds:
        return ()
    rows = []
    for model in ("plain20", "resnet20", "plain56", "resnet56"):
        errors = [100 * error for error in measured.by_seed(model)]
        if errors:
            spread = f"{stdev(errors):.1f}" if len(errors) > 1 else "–"
            rows.append([model, ", ".join(f"{error:.1f}" for error in errors), f"{mean(errors):.1f}", spread])
    head = ["small runs, training error in %", "by seed", "mean", "standard deviation"]
    return (f"Over seeds: {measured.seeds_setup}.", table(head, rows))
