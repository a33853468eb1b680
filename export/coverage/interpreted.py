"""Run an imported graph by torch's functions, so that autograd gives the truth for files without a torch source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from onnx import NodeProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from export.importing import ImportedModel


class Interpreted(nn.Module):
    """Runs the graph's nodes, each by one torch function; the trained initializers are the module's parameters.

    Raises:
        NotImplementedError: the graph has an operator or attribute that no file of `other_producers.py` uses.
    """

    def __init__(self, imported: ImportedModel) -> None:
        super().__init__()
        graph = imported.model.graph
        self._nodes = list(graph.node)
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._constants: dict[str, Tensor] = {}
        self._names: dict[str, str] = {}
        for tensor in graph.initializer:
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            self._names[tensor.name] = name = tensor.name.replace(".", "|")  # torch forbids dots in names
            if tensor.name in imported.constants or not value.is_floating_point():
                self.register_buffer(name, value)
            else:
                self.register_parameter(name, nn.Parameter(value))
        for node in self._nodes:
            if node.op_type not in FUNCTIONS:
                raise NotImplementedError(f"{node.op_type} (node {node.name!r})")

    def forward(self, image: Tensor) -> Tensor:
        values: dict[str, Any] = {name: getattr(self, stored) for name, stored in self._names.items()}
        values[""], values[self._input] = None, image
        for node in self._nodes:
            given = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
            values[node.output[0]] = FUNCTIONS[node.op_type](node, given, *(values[name] for name in node.input))
        result: Tensor = values[self._output]
        return result


Attributes = dict[str, Any]


def _sides(node: NodeProto, given: Attributes, axes: int) -> tuple[list[int], bool]:
    """Return the pads as `functional.pad` takes them, and whether both sides of every axis are equal."""
    if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise NotImplementedError(f"auto_pad (node {node.name!r})")
    pads = given.get("pads") or [0] * (2 * axes)
    flat = [pads[side * axes + axis] for axis in reversed(range(axes)) for side in (0, 1)]
    return flat, list(pads[:axes]) == list(pads[axes:])


def _conv(node: NodeProto, given: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    axes = weight.ndim - 2
    sides, _ = _sides(node, given, axes)
    convolve: Callable[..., Tensor] = functional.conv1d if axes == 1 else functional.conv2d
    return convolve(
        functional.pad(x, sides) if any(sides) else x,
        weight,
        bias,
        stride=given.get("strides", 1),
        dilation=given.get("dilations", 1),
        groups=given.get("group", 1),
    )


def _window(node: NodeProto, given: Attributes, x: Tensor, fill: float) -> tuple[Tensor, Attributes]:
    """Return `x`, padded where torch's pool cannot do that itself, and the pool's arguments."""
    kernel = given["kernel_shape"]
    sides, alike = _sides(node, given, len(kernel))
    arguments = {"kernel_size": kernel, "stride": given.get("strides") or [1] * len(kernel)}
    arguments["ceil_mode"] = bool(given.get("ceil_mode", 0))
    if alike:
        return x, arguments | {"padding": given.get("pads", [0] * len(kernel))[: len(kernel)]}
    if arguments["ceil_mode"]:
        raise NotImplementedError(f"unequal pads with ceil_mode (node {node.name!r})")
    return functional.pad(x, sides, value=fill), arguments


def _max_pool(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    padded, arguments = _window(node, given, x, -torch.inf)
    return functional.max_pool2d(padded, dilation=given.get("dilations", 1), **arguments)


def _average_pool(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    padded, arguments = _window(node, given, x, 0.0)
    counted = bool(given.get("count_include_pad", 0))
    if padded is x:
        return functional.avg_pool2d(x, count_include_pad=counted, **arguments)
    average = functional.avg_pool2d(padded, **arguments)
    if counted:
        return average
    inside, _ = _window(node, given, torch.ones_like(x), 0.0)
    return average / functional.avg_pool2d(inside, **arguments)


def _gemm(node: NodeProto, given: Attributes, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    if given.get("transA", 0) or given.get("alpha", 1.0) != 1 or given.get("beta", 1.0) != 1:
        raise NotImplementedError(f"transA, alpha or beta (node {node.name!r})")
    y = functional.linear(a, b) if given.get("transB", 0) else torch.matmul(a, b)
    return y if c is None else y + c


def _batch_norm(node: NodeProto, given: Attributes, x: Tensor, *statistics: Tensor) -> Tensor:
    gamma, beta, mean, variance = statistics
    return functional.batch_norm(x, mean, variance, gamma, beta, eps=given.get("epsilon", 1e-5))


def _reshape(node: NodeProto, given: Attributes, x: Tensor, target: Tensor) -> Tensor:
    sizes = [x.shape[axis] if size == 0 else int(size) for axis, size in enumerate(target.tolist())]
    return x.reshape(sizes)


def _squeeze(node: NodeProto, given: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(axes.tolist()))


def _unsqueeze(node: NodeProto, given: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    rank = x.ndim + axes.numel()
    for axis in sorted(axis % rank for axis in axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def _slice(node: NodeProto, given: Attributes, x: Tensor, starts: Tensor, ends: Tensor, *others: Tensor) -> Tensor:
    axes = others[0].tolist() if others else list(range(len(starts)))
    steps = others[1].tolist() if len(others) > 1 else [1] * len(starts)
    for start, end, axis, step in zip(starts.tolist(), ends.tolist(), axes, steps, strict=True):
        x = x[(*[slice(None)] * (axis % x.ndim), slice(start, end, step))]
    return x


def _lrn(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    return functional.local_response_norm(
        x, given["size"], given.get("alpha", 1e-4), given.get("beta", 0.75), given.get("bias", 1.0)
    )


def _mean(node: NodeProto, given: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    return x.mean(axes.tolist(), keepdim=bool(given.get("keepdims", 1)))


def _clip(
    node: NodeProto, given: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> Tensor:
    """Clip by hardtanh, whose kinks `clearest.py` knows."""
    bounds = (-torch.inf if low is None else float(low), torch.inf if high is None else float(high))
    return functional.hardtanh(x, *bounds)


def _padded(node: NodeProto, given: Attributes, x: Tensor, pads: Tensor, *others: Tensor | None) -> Tensor:
    if given.get("mode", b"constant") != b"constant" or len(others) > 1:
        raise NotImplementedError(f"mode or axes (node {node.name!r})")
    before, after = pads.reshape(2, -1).tolist()
    flat = [side[axis] for axis in reversed(range(x.ndim)) for side in (before, after)]
    return functional.pad(x, flat, value=0.0 if not others or others[0] is None else float(others[0]))


def _hard_sigmoid(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    return functional.hardtanh(given.get("alpha", 0.2) * x + given.get("beta", 0.5), 0.0, 1.0)


def _concat(node: NodeProto, given: Attributes, *parts: Tensor) -> Tensor:
    return torch.cat(parts, dim=given["axis"])


def _total(node: NodeProto, given: Attributes, *terms: Tensor) -> Tensor:
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def _plain(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Adapt a function that needs no attributes."""
    return lambda node, given, *operands: function(*operands)


def _shape(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    sizes: Sequence[int] = x.shape
    return torch.tensor(sizes[given.get("start", 0) : given.get("end")])


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Add": _plain(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _plain(lambda x: x),
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _plain(torch.div),
    "Dropout": _plain(lambda x, *rest: x),
    "Elu": lambda node, given, x: functional.elu(x, given.get("alpha", 1.0)),
    "Flatten": lambda node, given, x: x.flatten(given.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda x: x.mean((2, 3), keepdim=True)),
    "HardSigmoid": _hard_sigmoid,
    "Identity": _plain(lambda x: x),
    "LRN": _lrn,
    "LeakyRelu": lambda node, given, x: functional.leaky_relu(x, given.get("alpha", 0.01)),
    "MatMul": _plain(torch.matmul),
    "MaxPool": _max_pool,
    "Mul": _plain(torch.mul),
    "Pad": _padded,
    "ReduceMean": _mean,
    "Relu": _plain(functional.relu),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _plain(torch.sub),
    "Sum": _total,
    "Transpose": lambda node, given, x: x.permute(given["perm"]),
    "Unsqueeze": _unsqueeze,
}
