"""One network, judged by the service's own functions and by Amazon SageMaker Debugger's rules at their defaults."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from bench.bundles.networks import settled
from bench.harness.paths import SHIPPED
from bench.verdicts.corpus import CLASSES, MEAN, SIZE, STD, Case, photograph_files, photographs
from bench.verdicts.truth import has_dead_layer
from export.gradient import OPSET, differentiate, prepare
from export.running.runs import in_onnxruntime
from export.trained.forward import constants_of, forward_graph
from export.writing.bundle import read_bundle_and_graphs
from service.contract.arrays import Pixels
from service.contract.bundle_schema import Architecture, Bundle, Graph, GraphName, InputSpec
from service.contract.norms import measure
from service.contract.runtime.opening import Runtime
from service.diagnostics.gradients import Diagnosis, diagnose
from service.diagnostics.measurement import measure_gradients
from service.diagnostics.verdicts.thresholds import Thresholds
from service.images.preprocess import decode, normalise
from service.offline.check import DEFAULT_IMAGES
from service.offline.examination import examined, images_for
from service.offline.made_pictures import made_pictures
from service.offline.model import OfflineModel, finished

Images = NDArray[np.float32]
Labels = NDArray[np.int64]
Graphs = dict[GraphName, onnx.ModelProto]

DEBUGGER_RULE_FOR = {
    "not finite": "ExplodingTensor",
    "exploding": "ExplodingTensor",
    "vanishing": "VanishingGradient",
    "dead": "DeadRelu",
}
BEYOND_BOUNDS = frozenset({"exploding", "not finite"})
VANISHED = 1e-7
"""VanishingGradient fires where a tensor's mean absolute gradient is below this."""
DEAD = 0.5
"""DeadRelu fires where more than this share of a layer's units is never active."""
GRAPHS: tuple[GraphName, ...] = ("weight_norms", "activations")


@dataclass(frozen=True)
class Judged:
    """One network: the truth, what we found on photographs and at the gate, and which of Debugger's rules fired.

    Args:
        also: findings that count neither as false alarms nor as misses.
        state, found, because: the verdict on the photographs, its findings, and why.
        at_gate: the state that `python -m service check` says, which makes its own pictures.
    """

    name: str
    truth: str
    also: frozenset[str]
    state: str
    found: frozenset[str]
    because: str
    at_gate: str
    debugger: frozenset[str]


def judge_case(case: Case, seed: int) -> Judged:
    """Build a network of a corpus, calibrate it on the photographs, and judge it."""
    images = photographs(case.size)
    torch.manual_seed(seed)
    network = settled(case.build(), torch.from_numpy(images))
    truth = case.truth if isinstance(case.truth, str) else case.truth(network, images)
    return judge_network(case.name, truth, case.also, network, images)


def judge_network(name: str, truth: str, also: frozenset[str], network: nn.Module, images: Images) -> Judged:
    """Judge a torch network; a finding "dead" that nobody made is true where torch sees it on many more images."""
    bundle, graphs = exported(network, images.shape[-1])
    labels = np.arange(len(images)) % CLASSES
    found = diagnosis_of(bundle, graphs, images, labels)
    pictures = normalise(made_pictures(DEFAULT_IMAGES, bundle.input), bundle.input)
    at_gate = diagnosis_of(bundle, graphs, pictures, np.full(len(pictures), -1)).verdict.state
    is_called_dead = "dead" in (at_gate, *(str(finding.finding) for finding in found.verdict.findings))
    if truth != "dead" and is_called_dead and has_dead_layer(network, images):
        truth, also = "dead" if truth == "healthy" else truth, also | {"dead"}
    return judged(name, truth, also, found, at_gate, debugger_rules(network, images, labels, found))


def judge_shipped() -> list[Judged]:
    """Judge the trained bundles, whose names say if they were made to be sick."""
    return [judge_bundle(f"trained {name}", truth, SHIPPED / name) for name, truth in shipped_truths()]


def shipped_truths() -> Iterator[tuple[str, str]]:
    """Yield the names of the shipped bundles, and what each was made to be."""
    for file in sorted(SHIPPED.glob("*/bundle.json")):
        name = file.parent.name
        yield name, "vanishing" if "sigmoid" in name else "exploding" if "exploding" in name else "healthy"


def judge_bundle(name: str, truth: str, folder: Path) -> Judged:
    """Judge a bundle as it would be served.

    Debugger's rules have no torch run to look at here; the service's own account of them is taken.
    """
    model = OfflineModel(folder, Runtime("cpu"))
    pixels = decoded(model.bundle)
    unlabelled = model.kind.none_given(len(pixels), len(model.bundle.labels))
    measured = finished(measure_gradients(model.run, model.bundle, pixels, unlabelled))
    found = diagnose(model.bundle, measured, Thresholds())
    fired = frozenset(rule.rule for rule in found.verdict.debugger if rule.fires)
    gate = finished(examined(folder, model, images_for(model, None, DEFAULT_IMAGES), Thresholds()))
    rules = fired & frozenset(DEBUGGER_RULE_FOR.values())
    return judged(name, truth, frozenset(), found, gate.verdict.state, rules)


def decoded(bundle: Bundle) -> Pixels:
    """Return the photographs as a bundle's images are decoded, uint8 [n, h, w, c]."""
    return np.stack([decode(file.read_bytes(), bundle.input) for file in photograph_files()])


def images_of(folder: Path) -> Images:
    """Return the photographs as the network of the bundle in a folder gets them, float32 [n, c, h, w]."""
    bundle = read_bundle_and_graphs(folder)[0]
    return normalise(decoded(bundle), bundle.input)


def judged(
    name: str, truth: str, also: frozenset[str], found: Diagnosis, at_gate: str, debugger: frozenset[str]
) -> Judged:
    if truth in BEYOND_BOUNDS:  # what explodes far enough is no longer finite
        also |= BEYOND_BOUNDS - {truth}
    findings = frozenset(str(finding.finding) for finding in found.verdict.findings)
    return Judged(name, truth, also, found.verdict.state, findings, found.verdict.because, at_gate, debugger)


def shipped_bundles() -> Iterator[tuple[Bundle, Graphs]]:
    """Yield the shipped bundles for images of `SIZE`."""
    for file in sorted(SHIPPED.glob("*/bundle.json")):
        bundle, graphs = read_bundle_and_graphs(file.parent)
        if bundle.input.height == SIZE:
            yield bundle, graphs


def exported(network: nn.Module, size: int = SIZE) -> tuple[Bundle, Graphs]:
    """Return a torch network as the service would get it, in memory."""
    return bundle_of(forward_graph(network, size), constants_of(network), size)


def bundle_of(forward: onnx.ModelProto, constants: tuple[str, ...] = (), size: int = SIZE) -> tuple[Bundle, Graphs]:
    """Return a forward graph differentiated and described, in memory."""
    prepared = prepare(forward, constants=constants)
    bundle = Bundle(
        name="net",
        labels=tuple(str(index) for index in range(CLASSES)),
        input=InputSpec(height=size, width=size, mean=MEAN, std=STD),
        architecture=Architecture(family="plain", depth=max(layer.depth for layer in prepared.layers)),
        layers=prepared.layers,
        other_parameters=prepared.other_parameters,
        features=prepared.features,
        graphs={"activations": Graph(file="-", inputs=("input",), outputs=("logits",))},
        opset=OPSET,
        producer="contraflow bench",
        sha256={},
    )
    return bundle, {graph: differentiate(prepared, graph) for graph in GRAPHS}


def diagnosis_of(bundle: Bundle, graphs: Graphs, images: Images, labels: Labels) -> Diagnosis:
    """Diagnose a network by the service's own functions, in ONNX Runtime."""
    runs = {name: in_onnxruntime(graphs[name]) for name in GRAPHS}

    async def run(graph: GraphName, images: Any, labels: Labels | None = None) -> dict[str, NDArray[Any]]:
        if graph == "activations":
            return runs[graph]({"input": images})
        feeds = {"input": images, "label": np.full(len(images), -1) if labels is None else labels}
        return dict(measure(lambda scale: runs[graph]({**feeds, "cotangent_scale": scale}), len(images)))

    measured = asyncio.run(measure_gradients(run, bundle, images, labels))
    return diagnose(bundle, measured, Thresholds())


def debugger_rules(network: nn.Module, images: Images, labels: Labels, found: Diagnosis) -> frozenset[str]:
    """Return which of Debugger's rules fire on torch's batch gradient (float32), as in a training step.

    The weights are frozen. ExplodingTensor fires for NaN or infinity; DeadRelu looks at our share of dead units.
    """
    network.zero_grad(set_to_none=True)
    functional.cross_entropy(network(torch.from_numpy(images)), torch.from_numpy(labels)).backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    fires = {
        "ExplodingTensor": any(not torch.isfinite(gradient).all() for gradient in gradients),
        "VanishingGradient": any(float(gradient.abs().mean()) < VANISHED for gradient in gradients),
        "DeadRelu": max((layer.dead_fraction or 0.0 for layer in found.layers), default=0.0) > DEAD,
    }
    return frozenset(rule for rule, fired in fires.items() if fired)
