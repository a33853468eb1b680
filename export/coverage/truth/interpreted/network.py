"""The module that runs an imported graph by torch's functions, one for each node."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from onnx import NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from export.coverage.truth.interpreted import recurrent, shapes, values, windows
from export.coverage.truth.interpreted.attributes import Function
from export.coverage.truth.precision import default_precision
from export.importing import ImportedModel

FUNCTIONS: dict[str, Function] = {
    **windows.FUNCTIONS,
    **shapes.FUNCTIONS,
    **values.FUNCTIONS,
    **recurrent.FUNCTIONS,
}
STEPS = {
    *("ArgMax", "ArgMin", "Ceil", "Equal", "Floor", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less"),
    *("LessOrEqual", "NonZero", "Not", "Round", "Size"),
}
"""Operators whose derivative is zero wherever they have one."""


class Interpreted(nn.Module):
    """Runs the graph's nodes, each by one torch function; the trained initializers are the module's parameters.

    So are the tensors named by `computed`, which nodes compute from initializers alone: they are computed once, and
    all is then float64.

    Nodes that no gradient passes, such as those that compute shapes, may have any operator: onnx's reference
    evaluator runs them.

    Raises:
        NotImplementedError: when it is run: a gradient passes an operator or attribute that is not known here.
    """

    def __init__(self, imported: ImportedModel, computed: Collection[str] = ()) -> None:
        super().__init__()
        graph = imported.model.graph
        self._opsets = {entry.domain: entry.version for entry in imported.model.opset_import}
        self._nodes = [(node, _attributes(node)) for node in graph.node]
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._names: dict[str, str] = {}
        for tensor in graph.initializer:
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            self._names[tensor.name] = name = attribute_of(tensor.name)
            if tensor.name in imported.constants or not value.is_floating_point():
                self.register_buffer(name, value)
            else:
                self.register_parameter(name, nn.Parameter(value))
        with torch.no_grad(), default_precision(torch.float64):
            values = self.double()._run(torch.zeros(1, *imported.input.image_shape)) if computed else {}
        for tensor_name in computed:
            self._names[tensor_name] = name = attribute_of(tensor_name)
            self.register_parameter(name, nn.Parameter(values[tensor_name].clone()))

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self._run(image)[self._output]
        return result

    def _run(self, image: Tensor) -> dict[str, Any]:
        known: dict[str, Any] = {name: getattr(self, stored) for name, stored in self._names.items()}
        known[""], known[self._input] = None, image
        for node, given in self._nodes:
            operands = [known[name] for name in node.input]
            function = FUNCTIONS.get(node.op_type)
            found = function(node, given, *operands) if function else self._by_onnx(node, operands)
            outputs = found if isinstance(found, tuple) else (found,)
            known |= {name: value for name, value in zip(node.output, outputs, strict=False) if name not in self._names}
        return known

    def _by_onnx(self, node: NodeProto, operands: list[Tensor | None]) -> tuple[Tensor, ...]:
        if node.op_type not in STEPS and any(operand is not None and operand.requires_grad for operand in operands):
            raise NotImplementedError(f"{node.op_type} (node {node.name!r})")
        feeds = {
            name: value.detach().numpy() for name, value in zip(node.input, operands, strict=True) if value is not None
        }
        results = ReferenceEvaluator(node, opsets=self._opsets).run(None, feeds)
        return tuple(_in_default_precision(np.asarray(result)) for result in results)


def attribute_of(initializer: str) -> str:
    """Return the name of an initializer's parameter in the module; torch forbids dots in names."""
    return initializer.replace(".", "|")


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}


def _in_default_precision(value: np.ndarray) -> Tensor:
    tensor = torch.from_numpy(value)
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor
