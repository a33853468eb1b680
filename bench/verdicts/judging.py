"""One network, judged by the service's own functions and by Amazon SageMaker Debugger's rules at their defaults."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from bench.bundles.networks import settled
from bench.harness.paths import SHIPPED
from bench.verdicts.corpus import CLASSES, MEAN, SIZE, STD, Case, photographs
from bench.verdicts.truth import has_dead_layer
from export.gradient import OPSET, differentiate, prepare
from export.running.runs import in_onnxruntime
from export.trained.forward import constants_of, forward_graph
from export.writing.bundle import read_bundle_and_graphs
from service.contract.bundle_schema import Architecture, Bundle, Graph, GraphName, InputSpec
from service.contract.norms import measure
from service.diagnostics.gradients import Diagnosis, diagnose
from service.diagnostics.measurement import measure_gradients
from service.diagnostics.verdicts.thresholds import Thresholds

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
    """One network: the truth, what we found and which of Debugger's rules fired."""

    name: str
    truth: str
    also: frozenset[str]
    """Findings that count neither as false alarms nor as misses."""
    state: str
    found: frozenset[str]
    debugger: frozenset[str]
    because: str

    @property
    def is_stopped(self) -> bool:
        """Whether `python -m service check` would end with 1."""
        return self.state != "healthy"


def judge_case(case: Case, seed: int) -> Judged:
    """Judge one network of a corpus on the photographs; a finding "dead" is true where torch says so, too."""
    images = photographs(case.size)
    torch.manual_seed(seed)
    network = settled(case.build(), torch.from_numpy(images))
    labels = np.arange(len(images)) % CLASSES
    found = diagnosis_of(*exported(network, case.size), images, labels)
    truth = case.truth if isinstance(case.truth, str) else case.truth(network, images)
    one = judged(case.name, truth, case.also, found, debugger_rules(network, images, labels, found))
    if "dead" in one.found and truth != "dead" and has_dead_layer(network, images):
        return replace(one, truth="dead" if truth == "healthy" else truth, also=one.also | {"dead"})
    return one


def judge_shipped(images: Images) -> Iterator[Judged]:
    """Judge the trained bundles, whose names say if they were made to be sick.

    Debugger's rules have no torch run to look at here; the service's own account of them is taken.
    """
    for bundle, graphs in shipped_bundles():
        truth = "vanishing" if "sigmoid" in bundle.name else "exploding" if "exploding" in bundle.name else "healthy"
        assert bundle.input.mean is not None
        assert bundle.input.std is not None
        pixels = images * planes(STD) + planes(MEAN)
        own = ((pixels - planes(bundle.input.mean)) / planes(bundle.input.std)).astype(np.float32)
        found = diagnosis_of(bundle, graphs, own, np.full(len(images), -1))
        yield judged(f"trained {bundle.name}", truth, frozenset(), found, fired_by_service(found))


def fired_by_service(found: Diagnosis) -> frozenset[str]:
    """Return which of Debugger's three rules fire by the service's answer."""
    return frozenset(rule.rule for rule in found.verdict.debugger if rule.fires) & frozenset(DEBUGGER_RULE_FOR.values())


def shipped_bundles() -> Iterator[tuple[Bundle, Graphs]]:
    """Yield the shipped bundles for images of `SIZE`."""
    for file in sorted(SHIPPED.glob("*/bundle.json")):
        bundle, graphs = read_bundle_and_graphs(file.parent)
        if bundle.input.height == SIZE:
            yield bundle, graphs


def planes(values: tuple[float, ...]) -> NDArray[np.float64]:
    """Return one value for each channel, shaped to meet images."""
    return np.array(values).reshape(-1, 1, 1)


def judged(name: str, truth: str, also: frozenset[str], found: Diagnosis, debugger: frozenset[str]) -> Judged:
    findings = frozenset(str(finding.finding) for finding in found.verdict.findings)
    if truth in BEYOND_BOUNDS:  # what explodes far enough is no longer finite
        also |= BEYOND_BOUNDS - {truth}
    return Judged(name, truth, also, found.verdict.state, findings, debugger, found.verdict.because)


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
