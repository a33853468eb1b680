"""A graph in float64: every node by torch's function, its choices taken from the run that is judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from bench.gpu.part import reason
from bench.gradients.choices import Choices, choosing
from bench.gradients.runs import Feeds
from export.coverage.truth.interpreted.network import FUNCTIONS
from export.coverage.truth.precision import default_precision

BARELY_OPEN = 1e-30
"""Output of a rectifier that is held open: below all rounding, and above 0 for the graph's step, 1e38 · y."""


def _pooled(node: NodeProto, given: dict[str, Any], x: Tensor) -> Any:
    """Pool, and give the places of the maxima in their own plane where they are asked for: the graph wants no more."""
    if len(node.output) == 1:
        return FUNCTIONS["MaxPool"](node, given, x)
    pads = given.get("pads") or [0] * 4
    if pads[:2] != pads[2:] or given.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise NotImplementedError(f"MaxPool with such pads (node {node.name!r})")
    return functional.max_pool2d(
        x,
        given["kernel_shape"],
        given.get("strides") or [1, 1],
        pads[:2],
        given.get("dilations", 1),
        bool(given.get("ceil_mode", 0)),
        return_indices=True,
    )


def _sliced(
    node: NodeProto, given: dict[str, Any], x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, *steps: Tensor
) -> Tensor:
    steps_of = steps[0].tolist() if steps else [1] * len(starts)
    for start, end, axis, step in zip(starts.tolist(), ends.tolist(), axes.tolist(), steps_of, strict=True):
        places = list(range(x.shape[axis])[start:end:step])
        x = x.index_select(axis, torch.tensor(places, dtype=torch.int64, device=x.device))
    return x


def _scattered(node: NodeProto, given: dict[str, Any], x: Tensor, indices: Tensor, updates: Tensor) -> Any:
    if given.get("reduction") != b"add":
        return FUNCTIONS["ScatterElements"](node, given, x, indices, updates)
    return x.scatter_add(given.get("axis", 0), indices, updates)


FURTHER: dict[str, Callable[..., Any]] = {
    "ArgMax": lambda node, given, x: torch.argmax(x, dim=given.get("axis", 0), keepdim=bool(given.get("keepdims", 1))),
    "ConstantOfShape": lambda node, given, shape: torch.full(
        shape.tolist(), numpy_helper.to_array(given["value"]).item() if "value" in given else 0.0, device=shape.device
    ),
    "Equal": lambda node, given, a, b: torch.eq(a, b),
    "Less": lambda node, given, a, b: torch.lt(a, b),
    "MaxPool": _pooled,
    "Mod": lambda node, given, a, b: torch.remainder(a, b),
    "ScatterElements": _scattered,
    "Slice": _sliced,
    "Shape": lambda node, given, x: torch.tensor(x.shape[given.get("start", 0) : given.get("end")], device=x.device),
}
"""Operators of gradient graphs that the interpreter of forward graphs lacks, or that must stay on the device."""
SHAPED_BY_LATER = {"Expand", "Pad", "Reshape", "Slice", "Squeeze", "Tile", "Unsqueeze"}
"""Operators whose later operands are shapes and axes, read on the host; so are those of all that reduce."""


class Truth:
    """A graph that is ready to run in float64 on a device, or on the CPU where that device cannot.

    `place` says where it ran, and why not on the device.
    """

    def __init__(self, model: onnx.ModelProto, device: str) -> None:
        self.place = self._device = device
        self._graph = model.graph
        self._nodes = [
            (node, {a.name: helper.get_attribute_value(a) for a in node.attribute}) for node in model.graph.node
        ]
        self._last_use = {name: at for at, (node, _) in enumerate(self._nodes) for name in node.input}
        self._constants: dict[str, Tensor] = {}

    def run(self, feeds: Feeds, choices: Choices | None = None) -> dict[str, NDArray[Any]]:
        """Return the outputs by name, float64, with the given choices of rectifiers and pools."""
        if self._device != "cpu":
            try:
                return self._run(feeds, choices or {})
            except Exception as error:
                self.place, self._device = f"cpu, not {self._device}: {reason(error)}", "cpu"
                self._constants.clear()
            finally:
                torch.cuda.empty_cache()  # the runtime, which has an allocator of its own, needs the memory next
        return self._run(feeds, choices or {})

    def _run(self, feeds: Feeds, choices: Choices) -> dict[str, NDArray[Any]]:
        if not self._constants:
            self._constants |= {
                each.name: self._tensor(numpy_helper.to_array(each)) for each in self._graph.initializer
            }
        known: dict[str, Any] = {**self._constants, "": None}
        known |= {name: self._tensor(value) for name, value in feeds.items()}
        wanted = {value.name for value in self._graph.output}
        with torch.no_grad(), default_precision(torch.float64):
            for at, (node, given) in enumerate(self._nodes):
                found = self._node(node, given, [known[name] for name in node.input], choices)
                known |= dict(zip(node.output, found if isinstance(found, tuple) else (found,), strict=False))
                for name in {*node.input} - wanted - {""}:
                    if self._last_use[name] == at:
                        del known[name]  # a batch of a large net would not fit otherwise
        return {name: known[name].cpu().numpy() for name in (value.name for value in self._graph.output)}

    def _node(self, node: NodeProto, given: dict[str, Any], operands: list[Any], choices: Choices) -> Any:
        if (name := choosing(node)) in choices:
            return _chosen(node, operands[0], torch.from_numpy(choices[name]).to(self._device))
        if node.op_type in SHAPED_BY_LATER or node.op_type.startswith("Reduce"):
            operands = [operands[0], *(each if each is None else each.cpu() for each in operands[1:])]
        return (FURTHER.get(node.op_type) or FUNCTIONS[node.op_type])(node, given, *operands)

    def _tensor(self, value: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(np.array(value))
        return (tensor.double() if tensor.is_floating_point() else tensor).to(self._device)


def _chosen(node: NodeProto, x: Tensor, choice: Tensor) -> Any:
    if node.op_type == "Relu":
        return torch.where(choice, x.clamp(min=BARELY_OPEN), torch.zeros_like(x))
    places = choice % x[0, 0].numel()
    return x.flatten(2).gather(2, places.flatten(2)).reshape(choice.shape), places
