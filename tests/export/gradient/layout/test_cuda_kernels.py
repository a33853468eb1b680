"""Every node that a gradient graph can hold has a CUDA kernel: one that falls back costs two copies per run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest
from onnx import defs

from export.gradient import differentiate, prepare
from tests.export.gradient.cases.case import Case
from tests.export.gradient.cases.table import TABLE
from tests.export.gradient.layout.cuda_kernels import CUDA_KERNELS
from tests.export.gradient.rules.oracles import network

GRAPHS = ("batch_norms", "input_gradient", "activations", "feature_maps")


NO_KERNEL = {
    "CenterCropPad": {"CenterCropPad axes=1,2"},
    "Cosh": {"Sinh"},
    "ReverseSequence": {"ReverseSequence batch_axis=0 time_axis=1"},
    "Sinh": {"Cosh"},
}
"""Operators without a kernel on CUDA in any opset, forwards either: ONNX Runtime computes them on the processor."""

MEAN_MORE_THAN_IN_OPSET_18 = {
    "AffineGrid",
    "AffineGrid align_corners=1",
    "AveragePool kernel_shape=3,2 dilations=2,3 dilated",
    "Resize mode=linear coordinate_transformation_mode=half_pixel_symmetric",
}


def has_cuda_kernel(operator: str, opset: int) -> bool:
    """Match as ONNX Runtime does: a kernel "13+" serves only the schema of opset 13 itself, not a later one."""
    schema = defs.get_schema(operator, opset)
    since = schema.since_version
    return any(
        first == since or (last is not None and first < since <= last) for first, last in CUDA_KERNELS.get(operator, ())
    )


def emitted(case: Case) -> Iterator[tuple[str, int]]:
    """Operator and opset of every node that our rules add to the forward graph."""
    prepared = prepare(network(case))
    forward = {node.name for node in prepared.forward.graph.node}
    for name in GRAPHS:
        model = differentiate(prepared, name)
        yield from (
            (node.op_type, model.opset_import[0].version) for node in model.graph.node if node.name not in forward
        )


def test_every_operator_that_we_emit_has_a_cuda_kernel() -> None:
    fallbacks: dict[str, set[str]] = defaultdict(set)
    for case in TABLE:
        for operator, opset in emitted(case):
            if not has_cuda_kernel(operator, opset):
                fallbacks[operator].add(str(case))
    # These need opset 20, whose Equal has no kernel; no classifier that we know of holds them.
    assert fallbacks == NO_KERNEL | {"Equal": MEAN_MORE_THAN_IN_OPSET_18}


@pytest.mark.parametrize(
    ("operator", "opset", "served"),
    [("Pad", 18, True), ("Pad", 20, False), ("Reshape", 20, True), ("Mean", 20, False), ("Add", 20, True)],
)
def test_an_open_ended_kernel_serves_only_its_own_schema(operator: str, opset: int, served: bool) -> None:
    assert has_cuda_kernel(operator, opset) is served
