"""The norms that the timed graphs must give: torch's in float64, with the rectifiers on the same side.

The reference takes the sides that ONNX Runtime took, after making sure that they are its own but for units whose
input is lost in rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bench.gradients.choices import choices_of, watched
from bench.gradients.runs import session
from export.gradient import Prepared

ROUNDING = 1e-4
"""A unit further from its kink than this share of its layer's largest input has one right side."""


class Disagreement(Exception):
    """Raised where the timed graphs compute something else than torch."""


def reference_norms(
    network: nn.Module, prepared: Prepared, model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]
) -> NDArray[np.float64]:
    """Return per-sample weight-gradient norms [N, layers], as `prepared.layers`, on the sides that `model` takes.

    Raises:
        Disagreement: a rectifier is on the wrong side, by more than rounding.
    """
    double = copy.deepcopy(network).double()
    images, labels = feeds["input"], feeds["label"]
    sides = rectifier_sides(prepared, model, feeds)
    in_order = (side[n : n + 1] for n in range(len(images)) for side in sides)
    for module in double.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
            module.register_forward_hook(partial(take_side, in_order))
    own = [double.get_parameter(f"{layer.name}.weight") for layer in prepared.layers]
    rows = []
    for n in range(len(images)):
        scores = double(torch.from_numpy(images[n : n + 1]).double())
        loss = functional.cross_entropy(scores, torch.from_numpy(labels[n : n + 1]))
        rows.append([float(gradient.norm()) for gradient in torch.autograd.grad(loss, own)])
    return np.array(rows)


def rectifier_sides(prepared: Prepared, model: onnx.ModelProto, feeds: Mapping[str, NDArray[Any]]) -> list[Tensor]:
    """Return which rectifiers are open in a run of `model`, in forward order: boolean, shaped as their outputs.

    It must be that very graph: another one fuses other nodes, and rounds otherwise.
    """
    run = session(watched(model))
    names = [value.name for value in run.get_outputs()]
    choices = choices_of(model, dict(zip(names, run.run(names, dict(feeds)), strict=True)))
    return [torch.from_numpy(choices[node.outputs[0]]) for node in prepared.graph.nodes if node.operator == "Relu"]


def take_side(sides: Iterator[Tensor], module: nn.Module, arguments: tuple[Tensor], output: Tensor) -> Tensor:
    """Replace a rectifier's output by its input times the next of `sides`."""
    (x,), side = arguments, next(sides)
    wrong = ((x > 0) != side) & (x.abs() > ROUNDING * x.abs().max())
    if wrong.any():
        raise Disagreement(f"{int(wrong.sum())} rectifiers of one layer are on the wrong side of their kink")
    return x * side
