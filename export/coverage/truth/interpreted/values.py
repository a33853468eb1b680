"""Operators that compute with numbers, by torch's functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from onnx import NodeProto, TensorProto
from torch import Tensor
from torch.nn import functional

from export.coverage.truth.formula import by_formula
from export.coverage.truth.interpreted.attributes import Attributes, Function, plain, unknown


def _gemm(node: NodeProto, given: Attributes, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    if given.get("transA", 0) or given.get("alpha", 1.0) != 1 or given.get("beta", 1.0) != 1:
        raise unknown("transA, alpha or beta", node)
    y = functional.linear(a, b) if given.get("transB", 0) else torch.matmul(a, b)
    return y if c is None else y + c


def _batch_norm(
    node: NodeProto, given: Attributes, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    """Normalize by arithmetic, because torch's own function refuses statistics that are parameters."""
    return by_formula(x, mean, variance, scale, shift, given.get("epsilon", 1e-5))


def _dft(
    node: NodeProto, given: Attributes, x: Tensor, length: Tensor | None = None, axis: Tensor | None = None
) -> Tensor:
    """Transform numbers x [..., 1 or 2], whose last axis has the real and the imaginary part."""
    numbers = torch.view_as_complex(x.contiguous()) if x.shape[-1] == 2 else x[..., 0]
    places = (None if length is None else int(length), (-2 if axis is None else int(axis)) % x.ndim)
    inverse, onesided = given.get("inverse", 0), given.get("onesided", 0)
    if inverse and onesided:
        real: Tensor = torch.fft.irfft(numbers, *places)
        return real.unsqueeze(-1)
    transform = torch.fft.rfft if onesided else torch.fft.ifft if inverse else torch.fft.fft
    transformed: Tensor = torch.view_as_real(transform(numbers, *places))
    return transformed


def _instance_norm(node: NodeProto, given: Attributes, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return functional.instance_norm(x, weight=scale, bias=shift, eps=given.get("epsilon", 1e-5))


def _layer_norm(
    node: NodeProto, given: Attributes, x: Tensor, scale: Tensor, shift: Tensor | None = None
) -> tuple[Tensor, ...]:
    axis = given.get("axis", -1) % x.ndim
    y = functional.layer_norm(x, x.shape[axis:], eps=given.get("epsilon", 1e-5)) * scale
    return (y if shift is None else y + shift,)


def _group_norm(node: NodeProto, given: Attributes, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    groups = given["num_groups"]
    each = x.shape[1] // groups
    weight, bias = (value if len(value) == x.shape[1] else value.repeat_interleave(each) for value in (scale, shift))
    return functional.group_norm(x, groups, weight, bias, given.get("epsilon", 1e-5))


def _rms_norm(node: NodeProto, given: Attributes, x: Tensor, scale: Tensor) -> Tensor:
    axis = given.get("axis", -1) % x.ndim
    return functional.rms_norm(x, x.shape[axis:], eps=given.get("epsilon", 1e-5)) * scale


def _clip(
    node: NodeProto, given: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None
) -> Tensor:
    """Clip by hardtanh, whose kinks `clearest.py` knows."""
    bounds = (-torch.inf if low is None else float(low), torch.inf if high is None else float(high))
    return functional.hardtanh(x, *bounds) if x.is_floating_point() else x.clamp(*(int(bound) for bound in bounds))


def _divided(a: Tensor, b: Tensor) -> Tensor:
    """Divide; whole numbers give whole numbers."""
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _hard_sigmoid(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    return functional.hardtanh(given.get("alpha", 0.2) * x + given.get("beta", 0.5), 0.0, 1.0)


def _cast(node: NodeProto, given: Attributes, x: Tensor) -> Tensor:
    """Cast to the kind that is asked for; floating numbers keep the precision of the run."""
    if given["to"] in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return x if x.is_floating_point() else x.to(torch.get_default_dtype())
    return x.bool() if given["to"] == TensorProto.BOOL else x.long()


def _reduced(function: Callable[..., Tensor]) -> Function:
    def reduced(node: NodeProto, given: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        named = given["axes"] if "axes" in given else axes.tolist() if axes is not None else []
        if not named and given.get("noop_with_empty_axes", 0):
            return x
        return function(x, tuple(named or range(x.ndim)), bool(given.get("keepdims", 1)))

    return reduced


def _along_axis(function: Callable[..., Tensor]) -> Function:
    return lambda node, given, x: function(x, dim=given.get("axis", -1))


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """Adapt a function of two operands to any number of them."""
    return lambda node, given, *operands: reduce(function, operands)


def _cumulative(node: NodeProto, given: Attributes, x: Tensor, axis: Tensor) -> Tensor:
    if given.get("exclusive", 0) or given.get("reverse", 0):
        raise unknown("exclusive or reverse", node)
    return x.cumsum(int(axis))


FUNCTIONS: dict[str, Function] = {
    "Abs": plain(torch.abs),
    "Add": plain(torch.add),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Cos": plain(torch.cos),
    "CumSum": _cumulative,
    "DFT": _dft,
    "Div": plain(_divided),
    "Dropout": lambda node, given, x, *rest: (x,),
    "Einsum": lambda node, given, *operands: torch.einsum(given["equation"].decode(), *operands),
    "Elu": lambda node, given, x: functional.elu(x, given.get("alpha", 1.0)),
    "Erf": plain(torch.erf),
    "Exp": plain(torch.exp),
    "Gelu": lambda node, given, x: functional.gelu(x, approximate=given.get("approximate", b"none").decode()),
    "Gemm": _gemm,
    "GroupNormalization": _group_norm,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": plain(functional.hardswish),
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda node, given, x: functional.leaky_relu(x, given.get("alpha", 0.01)),
    "Log": plain(torch.log),
    "LogSoftmax": _along_axis(torch.log_softmax),
    "MatMul": plain(torch.matmul),
    "Max": _folded(torch.maximum),
    "Min": _folded(torch.minimum),
    "Mish": plain(functional.mish),
    "Mul": plain(torch.mul),
    "Neg": plain(torch.neg),
    "PRelu": plain(lambda x, slope: torch.where(x > 0, x, slope * x)),
    "Pow": plain(torch.pow),
    "RMSNormalization": _rms_norm,
    "Reciprocal": plain(torch.reciprocal),
    "ReduceL2": _reduced(lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep)),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceMin": _reduced(torch.amin),
    "ReduceSum": _reduced(torch.sum),
    "ReduceSumSquare": _reduced(lambda x, axes, keep: torch.sum(x * x, axes, keep)),
    "Relu": plain(functional.relu),
    "Sigmoid": plain(torch.sigmoid),
    "Sign": plain(torch.sign),
    "Sin": plain(torch.sin),
    "Softmax": _along_axis(torch.softmax),
    "Softplus": plain(functional.softplus),
    "Sqrt": plain(torch.sqrt),
    "Sub": plain(torch.sub),
    "Sum": _folded(torch.add),
    "Tanh": plain(torch.tanh),
    "Where": plain(torch.where),
}
