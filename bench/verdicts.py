"""`make verdicts`: how often each rule is wrong, on networks whose sickness is known → docs/verdicts.md.

Every network is exported, differentiated and judged through the service's own functions; Amazon SageMaker
Debugger's rules are applied, at their documented defaults, to torch's gradients of the same images.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from bench.corpus import CLASSES, MEAN, SIZE, STD, Case, calibrate, cases, convolutional, photographs
from bench.page import replace_section
from export.gradient import OPSET, differentiate, prepare
from export.running.runs import in_onnxruntime
from export.trained.forward import constants_of, forward_graph
from export.writing.bundle import read_bundle
from models.networks.network import Network
from service.contract.bundle_schema import Architecture, Bundle, GraphName, InputSpec
from service.contract.norms import measure
from service.diagnostics import shattering
from service.diagnostics.gradients import Diagnosis, diagnose
from service.diagnostics.measurement import measure_gradients
from service.diagnostics.verdicts.verdict import Thresholds

Array = NDArray[Any]

COMMAND = "python -m bench.verdicts"
FINDINGS = ("exploding", "vanishing", "dead", "imbalanced")
DEBUGGER_RULE_FOR = {"vanishing": "VanishingGradient", "exploding": "ExplodingTensor", "dead": "DeadRelu"}
NORMAL_95 = 1.96
GRAPHS: tuple[GraphName, ...] = ("weight_norms", "activations")


@dataclass(frozen=True)
class Judged:
    """One network: the truth, what we found and what Debugger's rules found."""

    name: str
    truth: str
    also: frozenset[str]
    state: str
    found: frozenset[str]
    debugger: frozenset[str]
    because: str


def exported(network: nn.Module) -> tuple[Bundle, dict[GraphName, onnx.ModelProto]]:
    """A torch network as the service would get it, in memory."""
    constants = constants_of(network) if isinstance(network, Network) else ()
    return bundle_of(forward_graph(network, SIZE), constants)  # type: ignore[arg-type]


def bundle_of(
    forward: onnx.ModelProto, constants: tuple[str, ...] = ()
) -> tuple[Bundle, dict[GraphName, onnx.ModelProto]]:
    """A forward graph differentiated and described, in memory."""
    prepared = prepare(forward, constants=constants)
    bundle = Bundle(
        name="net",
        labels=tuple(str(index) for index in range(CLASSES)),
        input=InputSpec(height=SIZE, width=SIZE, mean=MEAN, std=STD),
        architecture=Architecture(family="plain", depth=max(layer.depth for layer in prepared.layers)),
        layers=prepared.layers,
        other_parameters=prepared.other_parameters,
        features=prepared.features,
        graphs={"activations": {"file": "-", "inputs": ("input",), "outputs": ("logits",)}},  # type: ignore[dict-item]
        opset=OPSET,
        producer="contraflow bench",
        sha256={},
    )
    return bundle, {graph: differentiate(prepared, graph) for graph in GRAPHS}


def diagnosis_of(bundle: Bundle, graphs: dict[GraphName, onnx.ModelProto], images: Array, labels: Array) -> Diagnosis:
    """Judged by the service's own functions, in ONNX Runtime."""
    runs = {name: in_onnxruntime(graphs[name]) for name in GRAPHS}

    async def run(graph: GraphName, images: Array, labels: NDArray[np.int64] | None = None) -> dict[str, Array]:
        if graph == "activations":
            return runs[graph]({"input": images})
        feeds = {"input": images, "label": np.full(len(images), -1) if labels is None else labels}
        return dict(measure(lambda scale: runs[graph]({**feeds, "cotangent_scale": scale}), len(images)))

    measured = asyncio.run(measure_gradients(run, bundle, images, labels))
    return diagnose(bundle, measured, Thresholds())


def debugger_findings(network: nn.Module, images: Array, labels: Array, dead_fraction: float) -> frozenset[str]:
    """Debugger's rules on torch's batch gradient (float32), as in a training step with the weights frozen.

    VanishingGradient: some tensor's mean absolute gradient below 1e-7. ExplodingTensor: NaN or infinity.
    DeadRelu: over half of a layer's units never active.
    """
    network.zero_grad(set_to_none=True)
    functional.cross_entropy(network(torch.from_numpy(images)), torch.from_numpy(labels)).backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    fired = set()
    if any(not torch.isfinite(gradient).all() for gradient in gradients):
        fired.add("exploding")
    if any(float(gradient.abs().mean()) < 1e-7 for gradient in gradients):
        fired.add("vanishing")
    if dead_fraction > 0.5:
        fired.add("dead")
    return frozenset(fired)


def judge_case(case: Case, seed: int, images: Array) -> Judged:
    torch.manual_seed(seed)
    network = calibrate(case.build(), torch.from_numpy(images))
    labels = np.arange(len(images)) % CLASSES
    bundle, graphs = exported(network)
    found = diagnosis_of(bundle, graphs, images, labels)
    dead = max((layer.dead_fraction or 0.0 for layer in found.layers), default=0.0)
    return _judged(case.name, case.truth, case.also, found, debugger_findings(network, images, labels, dead))


def judge_shipped(folder: Path, images: Array) -> Iterable[Judged]:
    """The trained bundles; those made to be sick say so in their name. Debugger has no torch run to look at here."""
    for directory in sorted(path.parent for path in folder.glob("*/bundle.json")):
        bundle, graphs = read_bundle(directory)
        if bundle.input.height != SIZE or bundle.input.mean is None:
            continue
        truth = "vanishing" if "sigmoid" in bundle.name else "exploding" if "exploding" in bundle.name else "healthy"
        scaled = (images * np.array(STD).reshape(3, 1, 1) + np.array(MEAN).reshape(3, 1, 1)).astype(np.float64)
        own = (scaled - np.array(bundle.input.mean).reshape(3, 1, 1)) / np.array(bundle.input.std).reshape(3, 1, 1)
        found = diagnosis_of(bundle, graphs, own.astype(np.float32), np.full(len(images), -1))
        rules = {rule.rule for rule in found.verdict.debugger if rule.fires}
        fired = frozenset(finding for finding, rule in DEBUGGER_RULE_FOR.items() if rule in rules)
        yield _judged(f"trained {bundle.name}", truth, frozenset(), found, fired)


def _judged(name: str, truth: str, also: frozenset[str], found: Diagnosis, debugger: frozenset[str]) -> Judged:
    findings = frozenset(str(finding.finding) for finding in found.verdict.findings)
    return Judged(name, truth, also, found.verdict.state, findings, debugger, found.verdict.because)


# ---------------------------------------------------------------- shattering


def shattering_of(graph: onnx.ModelProto, images: Array, points: int = shattering.POINTS) -> shattering.Path:
    """Along the straight path between two of the photographs."""
    run = in_onnxruntime(graph)
    path = shattering.straight_path(images[3], images[11], points)
    feeds: dict[str, Array] = {"input": path, "label": np.zeros(points, np.int64)}
    outputs = measure(lambda scale: run({**feeds, "cotangent_scale": scale}), points)
    return shattering.analyse(outputs["input_gradient"].astype(np.float64))


def untrained_path(family: str, depth: int, images: Array, points: int = shattering.POINTS) -> shattering.Path:
    """Of He et al.'s network with BatchNorm at initialization."""
    torch.manual_seed(0)
    network = calibrate(convolutional(family, depth, "batch"), torch.from_numpy(images))
    assert isinstance(network, Network)
    prepared = prepare(forward_graph(network, SIZE), constants=constants_of(network))
    return shattering_of(differentiate(prepared, "input_gradient"), images, points)


def shattering_section(bundles: Path, images: Array, deepest: int) -> list[str]:
    """A table of spectral exponents: untrained networks with BatchNorm, and the trained bundles."""
    found = {
        f"untrained {family} {depth}": untrained_path(family, depth, images)
        for family in ("plain", "residual")
        for depth in (20, 56, 110)
        if depth <= deepest
    }
    for directory in sorted(path.parent for path in bundles.glob("*/bundle.json")):
        bundle, graphs = read_bundle(directory)
        if bundle.input.height == SIZE:
            found[f"trained {bundle.name}"] = shattering_of(graphs["input_gradient"], images)
    lines = ["", "### Shattering", "", f"Input gradients at {shattering.POINTS} points between two photographs.", ""]
    lines += ["| network | spectral exponent | autocorrelation at lag 1 | verdict |", "|---|---|---|---|"]
    for name, path in found.items():
        lag_one = path.autocorrelation.mean[1]
        lines.append(f"| {name} | {path.spectral_exponent:.2f} | {lag_one:.2f} | {shattering.judge(path).state} |")
    return lines


# ---------------------------------------------------------------- the document


def wilson(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if not total:
        return 0.0, 1.0
    share, square = count / total, NORMAL_95**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    reach = NORMAL_95 * math.sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def errors(judged: Sequence[Judged], finding: str, of: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """((false alarms, nets without the sickness), (misses, nets with it)) of "found" or "debugger"."""
    without = [one for one in judged if one.truth != finding and finding not in one.also]
    having = [one for one in judged if one.truth == finding]
    alarms = sum(finding in getattr(one, of) for one in without)
    missed = sum(finding not in getattr(one, of) for one in having)
    return (alarms, len(without)), (missed, len(having))


def document(judged: Sequence[Judged], seeds: int, command: str) -> str:
    lines = [
        f"Made by `{command}`: {len(judged)} networks (the trained bundles, and {seeds} of each untrained kind),",
        "24 photographs at 32 × 32, batch statistics calibrated on them. The truth is known by construction",
        "(`bench/corpus.py`). Every network is exported, differentiated and judged by the service's own functions on",
        "ONNX Runtime; Amazon SageMaker Debugger's rules are applied, at their documented defaults, to torch's",
        "float32 gradients of the same images (VanishingGradient 1e-7, ExplodingTensor NaN or infinity, DeadRelu over",
        "half of a layer's units).",
        "The corpus calibrated our thresholds too, so our rates are those of a fit, not of a forecast; the intervals",
        "are Wilson's at 95 % and take the networks as independent, which seeds of one kind are only in part.",
        "",
        "| finding | false alarms | misses | Debugger's rule | its false alarms | its misses |",
        "|---|---|---|---|---|---|",
    ]
    for finding in FINDINGS:
        ours = errors(judged, finding, "found")
        rule = DEBUGGER_RULE_FOR.get(finding)
        theirs = [_rate(*pair) for pair in errors(judged, finding, "debugger")] if rule else ["–", "–"]
        lines.append(
            f"| {finding} | {_rate(*ours[0])} | {_rate(*ours[1])} | {rule or 'none'} | {theirs[0]} | {theirs[1]} |"
        )
    right = sum(one.state == one.truth for one in judged)
    lines += [
        "",
        f"The state (the worst finding) is the truth for {right} of {len(judged)} networks.",
        "",
        "### Each kind",
        "",
        "| network | truth | our state, how often | Debugger's rules, how often | last sentence of the verdict |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(one.name for one in judged):
        same = [one for one in judged if one.name == name]
        states = _counted(one.state for one in same)
        rules = _counted(", ".join(sorted(one.debugger)) or "none" for one in same)
        lines.append(f"| {name} | {same[0].truth} | {states} | {rules} | {same[-1].because.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def _rate(count: int, total: int) -> str:
    low, high = wilson(count, total)
    return f"{count} of {total} ({low:.1%} to {high:.1%})"


def _counted(values: Iterable[str]) -> str:
    every = list(values)
    return ", ".join(f"{value} {every.count(value)}" for value in dict.fromkeys(every))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.verdicts", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--deepest", type=int, default=110)
    parser.add_argument("--images", type=Path, default=Path("tests/images"))
    parser.add_argument("--bundles", type=Path, default=Path("models/bundles"))
    parser.add_argument("--page", type=Path, default=Path("docs/verdicts.md"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    images = photographs(options.images)[:24]
    judged = list(judge_shipped(options.bundles, images))
    for seed in range(options.seeds):
        for case in cases(options.deepest):
            judged.append(judge_case(case, seed, images))
            one = judged[-1]
            mark = "" if one.state == one.truth else "   <-"
            print(f"{case.name}: {one.state} (truth {one.truth}){mark}  {one.because}", flush=True)
    command = " ".join([COMMAND, *arguments])
    text = document(judged, options.seeds, command)
    text += "\n".join(shattering_section(options.bundles, images, options.deepest)) + "\n"
    replace_section(options.page, COMMAND, text)
    print(f"{options.page}: {len(judged)} networks")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
