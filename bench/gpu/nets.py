"""The nets that are measured: the shipped bundles, and a ResNet-50 of random weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx

from bench.gpu.part import reason
from bench.gradients.runs import Feeds
from export.gradient import differentiate, prepare
from service.contract import outputs
from service.contract.bundle_schema import BUNDLE_FILE

RESNET50 = "resnet50"
SETTLED_ON = 8
GRAPHS = tuple(graph for graph in outputs.GRAPHS if graph != "explanation")
"""All but the one whose runs choose what they compute: the float64 interpreter knows no branches."""


@dataclass(frozen=True)
class Net:
    """A net's graphs by name."""

    name: str
    models: Mapping[str, onnx.ModelProto]

    def feeds(self, graph: str, batch: int) -> Feeds:
        """Return images of noise, and labels and scales where the graph takes them.

        The first images are the same for every batch size.
        """
        inputs = {value.name: value for value in self.models[graph].graph.input}
        shape = [dimension.dim_value for dimension in inputs["input"].type.tensor_type.shape.dim[1:]]
        classes = self.models["forward"].graph.output[0].type.tensor_type.shape.dim[1].dim_value
        every = [np.random.default_rng([0, place]).normal(size=shape) for place in range(batch)]
        given = {
            "input": np.stack(every).astype(np.float32),
            "label": np.arange(batch, dtype=np.int64) % classes,
            "cotangent_scale": np.ones(batch, np.float32),
        }
        return {name: given[name] for name in inputs}


def names(bundles: Path) -> list[str]:
    """Return the names of the bundles in a folder, in order."""
    return sorted(file.parent.name for file in bundles.glob(f"*/{BUNDLE_FILE}"))


@cache
def net(name: str, bundles: Path) -> Net:
    """Read a bundle's graphs, or derive those of a ResNet-50 at 224×224, which takes seconds.

    Raises:
        RuntimeError: they could not be derived.
    """
    if name == RESNET50 and not (bundles / name).is_dir():
        derived = _derived_resnet50()
        if isinstance(derived, str):
            raise RuntimeError(derived)
        return Net(name, derived)
    return read(bundles / name, GRAPHS)


def read(bundle: Path, graphs: Sequence[str]) -> Net:
    """Read graphs of a bundle, `forward` among them: the inputs of the others need its number of classes."""
    return Net(bundle.name, {graph: onnx.load(str(bundle / f"{graph}.onnx")) for graph in graphs})


@cache
def _derived_resnet50() -> dict[str, onnx.ModelProto] | str:
    """Derive the graphs of a ResNet-50, or return why that went wrong: every further try would take its time again."""
    try:
        from bench.bundles.networks import RESNET50_SIZE, resnet50
        from export.trained.forward import constants_of, forward_graph

        network = resnet50(SETTLED_ON)
        ready = prepare(forward_graph(network, RESNET50_SIZE), constants=constants_of(network))
        return {graph: differentiate(ready, graph) for graph in GRAPHS}
    except Exception as error:
        return f"there are no graphs of a ResNet-50: {reason(error)}"
