"""ONNX → torch by onnx2pytorch and onnx2torch; then torch differentiates."""

from __future__ import annotations

import onnx
from onnx import version_converter
from torch import nn

from bench.gradients.peers import PeerRun, vmap_norms
from bench.gradients.rivals.hooks import Layer, hooked, layers_of
from bench.gradients.rivals.layout import channels_last
from bench.gradients.subject import Subject
from export.coverage.architectures.from_torchvision import torchvision_models

OLDER_OPSET = 17
"""The newest that onnx2torch reads of what torch's exporter writes: it has no ReduceMean 18 and no Shape 19."""


def onnx2pytorch(subject: Subject) -> nn.Module:
    """Convert the exporter's file."""
    torchvision_models()  # the package imports torchvision, which fails by itself beside torch's build for CPUs
    from onnx2pytorch import ConvertModel

    module: nn.Module = ConvertModel(subject.exported())
    return module.eval()


def onnx2torch(subject: Subject) -> nn.Module:
    """Convert the exporter's file, lowered to an opset that the package reads."""
    torchvision_models()
    from onnx2torch import convert

    module: nn.Module = convert(lowered(subject.exported()))
    return module.eval()


def lowered(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph at `OLDER_OPSET`, without `allowzero`, which onnx2torch refuses; no shape here has a zero."""
    older = version_converter.convert_version(model, OLDER_OPSET)
    for node in older.graph.node:
        if node.op_type == "Reshape":
            del node.attribute[:]
    return older


def by_hooks(subject: Subject, module: nn.Module) -> PeerRun:
    """Return the norms of a converted module by hooks."""
    images, labels = subject.tensors()
    layers = layers_in(subject, module)
    return hooked(channels_last(module), layers, channels_last(images), labels)


def by_vmap(subject: Subject, module: nn.Module) -> PeerRun:
    """Return the norms of a converted module by vmap(grad)."""
    places = {id(parameter): name for name, parameter in module.named_parameters()}
    names = [places[id(layer.weight)] for layer in layers_in(subject, module)]
    return vmap_norms(module, names, *subject.tensors())


def layers_in(subject: Subject, module: nn.Module) -> list[Layer]:
    """Return the subject's layers in the converted module, in the order of the columns.

    Both converters make one layer of each node that has weights, in the order of the nodes. Some nodes are no layers
    of the subject: the 0/1 kernels of the option-A shortcuts.
    """
    nodes = [node for node in subject.exported().graph.node if node.op_type in ("Conv", "Gemm")]
    by_weight = {node.input[1]: layer for node, layer in zip(nodes, layers_of(module), strict=True)}
    return [by_weight[f"{name}.weight"] for name in subject.layers]
