"""A network on disk, which every run reads, ours and the rivals', here or in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxscript import optimizer
from torch import Tensor, nn

from bench.gradients.runs import Feeds
from export.gradient import Prepared, differentiate, prepare
from export.trained.forward import constants_of, forward_graph
from service.contract.bundle_schema import GraphName

GRAPHS: tuple[GraphName, ...] = ("activation_norms", "weight_norms", "batch_norms")
EXPORTED, NETWORK = "exported.onnx", "network.pt"


@dataclass(frozen=True)
class Subject:
    """A network at one batch: `folder` holds our graphs, the exporter's file and the torch module.

    Attributes:
        layers: the layers with weights, in the order of the norms' columns.
    """

    name: str
    size: int
    batch: int
    folder: Path
    layers: tuple[str, ...]
    classes: int

    def graph(self, name: str) -> Path:
        """Return the file of one of our graphs."""
        return self.folder / f"{name}.onnx"

    def feeds(self) -> Feeds:
        """Return images of noise, labels and scales for the gradient graphs."""
        shape = (self.batch, 3, self.size, self.size)
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        labels = np.arange(self.batch) % self.classes
        return {"input": images, "label": labels, "cotangent_scale": np.ones(self.batch, np.float32)}

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Return the images and labels for torch."""
        feeds = self.feeds()
        return torch.from_numpy(feeds["input"]), torch.from_numpy(feeds["label"])

    def network(self) -> nn.Module:
        """Return the torch module, read anew."""
        network: nn.Module = torch.load(self.folder / NETWORK, weights_only=False)
        return network

    def exported(self) -> onnx.ModelProto:
        """Return the exporter's file with its constants folded, the weights as they were trained."""
        return onnx.load(str(self.folder / EXPORTED))


@dataclass(frozen=True)
class Derived:
    """A network with the graphs that were derived from it, and the seconds that this took."""

    network: nn.Module
    ready: Prepared
    models: Mapping[str, onnx.ModelProto]
    seconds: float


def derive(network: nn.Module, size: int) -> tuple[Derived, onnx.ModelProto]:
    """Return our graphs of a network on pictures of `size` × `size` pixels, and the file that they come from."""
    start = time.process_time()
    exported = forward_graph(network, size)
    ready = prepare(exported, constants=constants_of(network))
    models: dict[str, onnx.ModelProto] = {graph: differentiate(ready, graph) for graph in GRAPHS}
    seconds = time.process_time() - start
    return Derived(network, ready, {"forward": differentiate(ready, ["logits"]), **models}, seconds), exported


def write(name: str, network: nn.Module, size: int, folder: Path) -> tuple[Subject, Derived]:
    """Derive the graphs of a network and write all that the runs read; the subject has batch 1.

    The rivals' file is the exporter's with its constants folded: onnx2pytorch cannot read biases that are computed.
    """
    folder.mkdir(parents=True)
    derived, exported = derive(network, size)
    subject = Subject(name, size, 1, folder, tuple(layer.name for layer in derived.ready.layers), derived.ready.classes)
    for graph, model in derived.models.items():
        onnx.save(model, str(subject.graph(graph)))
    optimizer.fold_constants(exported)
    onnx.save(exported, str(folder / EXPORTED))
    torch.save(network, folder / NETWORK)
    return subject, derived
