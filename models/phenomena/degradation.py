"""Section 4, degradation: trained alike, deeper plain nets are worse, and not because their gradients vanish."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import mean, median, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.phenomena import style
from models.phenomena.section import Section, Statement, number, table
from models.training.recipe import completed

KEY = "degradation"
DEPTHS = (20, 56, 110)
FAMILIES = {"plain": style.VERMILION_BY_DEPTH, "resnet": style.BLUE_BY_DEPTH}


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

    @property
    def depths(self) -> list[int]:
        """Depths of which both the plain and the residual net are there."""
        return [depth for depth in DEPTHS if {f"{family}{depth}" for family in FAMILIES} <= set(self.records)]

    @property
    def compared(self) -> list[str]:
        """Networks that the section compares, the plain ones first."""
        return [f"{family}{depth}" for family in FAMILIES for depth in self.depths]

    @property
    def budgets(self) -> int:
        """Number of different recipes, with their epochs and images, by which the compared networks were trained."""
        trained = (self.records[name] for name in self.compared)
        return len(
            {
                json.dumps([completed(one["recipe"]), len(one["epochs"]), one["data_set"]], sort_keys=True)
                for one in trained
            }
        )

    def final(self, model: str, quantity: str = "train_error") -> float:
        """Return the finished network's error or loss on images that are not augmented."""
        return float(self.records[model]["final"][quantity])

    def less(self, model: str, other: str, quantity: str = "train_error") -> float:
        """Return the value of `model` less that of `other`."""
        return self.final(model, quantity) - self.final(other, quantity)

    def flattest(self, model: str) -> float:
        """Return the weakest layer's ‖dL/dW‖ over the median layer's, in the epoch where it is smallest."""
        measured = (epoch["gradient_norms"] for epoch in self.records[model]["epochs"])
        return min(weakest_share(norms) for norms in measured if norms)

    def by_seed(self, model: str) -> list[float]:
        """Return the training errors of the small runs, in the order of their seeds."""
        return [run.train_error for run in sorted(self.seeds, key=lambda run: run.seed) if run.model == model]


def weakest_share(norms: Mapping[str, float | None]) -> float:
    """Return the weakest layer's norm over the median layer's; layers whose norm is not finite are left out."""
    known = [norm for norm in norms.values() if norm is not None and math.isfinite(norm)]
    return min(known) / median(known)


def standard_error(share: float, images: int = 10_000) -> float:
    """Return the standard error of an error rate over test images; another seed's training is not in it."""
    return math.sqrt(share * (1 - share) / images)


def statements(measured: Measurement) -> tuple[Statement, ...]:
    """State the signs of differences in error; statements on a model that is missing are left out."""
    return (
        *_depth_statements(measured),
        *_shortcut_statements(measured),
        *_gradient_statements(measured),
        *_seed_statements(measured),
    )


def _depth_statements(measured: Measurement) -> Iterator[Statement]:
    if len(measured.depths) < 2:
        return
    yield Statement(
        "one_budget", f"different recipes among these {len(measured.compared)} networks", measured.budgets, "≤", 1
    )
    shallow, deep = measured.depths[:2]
    for family, says, worse, better in (
        ("plain", "without shortcuts, depth harms", f"plain{deep}", f"plain{shallow}"),
        ("resnet", "with them, it helps", f"resnet{shallow}", f"resnet{deep}"),
    ):
        for split in ("train", "test"):
            yield Statement(
                f"{family}_{split}",
                f"{says}: {split_name(split)} error, {worse} less {better}",
                measured.less(worse, better, f"{split}_error"),
                "≥",
                0.0,
            )
    for deep, deeper in zip(measured.depths[1:], measured.depths[2:], strict=False):
        yield Statement(
            f"plain_{deeper}",
            f"and more depth harms more: training error, plain{deeper} less plain{deep}",
            measured.less(f"plain{deeper}", f"plain{deep}"),
            "≥",
            0.0,
        )


def _shortcut_statements(measured: Measurement) -> Iterator[Statement]:
    gaps = {depth: measured.less(f"plain{depth}", f"resnet{depth}") for depth in measured.depths}
    for depth, gap in gaps.items():
        if depth > DEPTHS[0]:
            yield Statement(
                f"gap_{depth}", f"{depth} layers: final training error, plain less residual", gap, "≥", 0.02
            )
    if {20, 56} <= set(gaps):
        yield Statement(
            "gap_grows",
            "the shortcut matters more with depth: that difference at 56 layers less the one at 20",
            gaps[56] - gaps[20],
            "≥",
            0.0,
        )


def _gradient_statements(measured: Measurement) -> Iterator[Statement]:
    if "plain56" in measured.records:
        yield Statement(
            "not_vanishing",
            "and it is not vanishing: over all epochs of plain56 the weakest layer's ‖dL/dW‖ is never less "
            "than this share of the median layer's",
            measured.flattest("plain56"),
            "≥",
            0.01,
        )
    if "plain20-sigmoid" in measured.records:
        yield Statement(
            "sigmoid_vanishes",
            "what vanishing looks like by the same measure: plain20-sigmoid",
            measured.flattest("plain20-sigmoid"),
            "≤",
            1e-4,
        )


def _seed_statements(measured: Measurement) -> Iterator[Statement]:
    plain, residual = measured.by_seed("plain56"), measured.by_seed("resnet56")
    shallow = measured.by_seed("plain20")
    if plain and shallow:
        yield Statement(
            "seeds_degradation",
            f"small runs, {len(plain)} seeds: smallest difference over seeds of the training error of plain56 less "
            "plain20",
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


def split_name(split: str) -> str:
    """Return `training` or `test`."""
    return "training" if split == "train" else split


def draw(measured: Measurement) -> Figure:
    """Draw the errors by epoch, of each family by depth, and the gradient norms by layer."""
    ends = "; ".join(
        f"{family} " + " → ".join(f"{100 * measured.final(f'{family}{depth}'):.1f}" for depth in measured.depths) + " %"
        for family in FAMILIES
    )
    depths = ", ".join(map(str, measured.depths))
    figure, axes = style.figure(f"Training error at {depths} layers: {ends}", columns=3, height=3.6)
    highest = max(epoch["train_error"] for name in measured.compared for epoch in measured.records[name]["epochs"])
    for axis, (family, colours) in zip(axes, FAMILIES.items(), strict=False):
        _draw_curves(axis, measured, family, colours)
        axis.set(ylim=(0, 140 * highest))  # room for the legend
    _draw_norms(axes[-1], measured)
    return figure


def _draw_curves(axis: Axes, measured: Measurement, family: str, colours: tuple[str, ...]) -> None:
    distinct = colours[1:] if len(measured.depths) > 2 else colours[1::2]
    for depth, colour in zip(measured.depths, distinct, strict=False):
        model = f"{family}{depth}"
        epochs = measured.records[model]["epochs"]
        numbers = [epoch["epoch"] for epoch in epochs]
        for split, line in (("train", "-"), ("test", ":")):
            errors = [100 * epoch[f"{split}_error"] for epoch in epochs]
            axis.plot(numbers, errors, line, color=colour, label=f"{model}, {split_name(split)}")
        axis.plot(numbers[-1], 100 * measured.final(model), color=colour, marker="o", markersize=4)
    axis.set(title="without shortcuts" if family == "plain" else "with shortcuts (dot: not augmented)")
    axis.set(xlabel="epoch", ylabel="error, %")
    axis.legend(fontsize=7.5, loc="upper right", ncols=2 if len(measured.depths) > 2 else 1)


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
    return Section(
        position=4,
        key=KEY,
        title="Degradation",
        figure=draw(measured),
        paragraphs=(_introduction(measured),),
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
                for name in measured.compared
            ],
        ),
        statements=statements(measured),
        notes=_seed_notes(measured),
        command=command,
        served="`GET /models/plain56`, and `POST /diagnostics/compare?model=resnet56&model=plain56`",
    )


def _introduction(measured: Measurement) -> str:
    first = measured.records[measured.compared[0]]
    alike = f"by one recipe for {len(first['epochs'])} epochs" if measured.budgets == 1 else "by recipes that differ"
    return (
        f"Networks of {' and '.join(map(str, measured.depths))} layers on {first['data_set']}, trained {alike}, one "
        "seed each. A plain and a residual net of one depth have the same parameters. Where the deeper net is worse on "
        "the training images too, it does not overfit: it is harder to train (He et al. 2016, section 4.2). Test "
        "errors carry the sampling error of the test images; what another seed would change is not in it"
        + (" and is what the small runs below measure." if measured.seeds else ".")
    )


def _seed_notes(measured: Measurement) -> tuple[str, ...]:
    if not measured.seeds:
        return ()
    rows = []
    for model in ("plain20", "plain56", "resnet20", "resnet56"):
        errors = [100 * error for error in measured.by_seed(model)]
        if errors:
            spread = f"{stdev(errors):.1f}" if len(errors) > 1 else "–"
            rows.append([model, ", ".join(f"{error:.1f}" for error in errors), f"{mean(errors):.1f}", spread])
    head = ["small runs, training error in %", "by seed", "mean", "standard deviation"]
    return (f"Over seeds: {measured.seeds_setup}.{_too_short(measured)}", table(head, rows))


def _too_short(measured: Measurement) -> str:
    shallow, deep = measured.by_seed("resnet20"), measured.by_seed("resnet56")
    if not shallow or not deep or mean(deep) <= mean(shallow):
        return ""
    return " That is too short for the residual net of 56 layers to be ahead of the one of 20."
