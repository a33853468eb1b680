"""ONNX → gradient ONNX, by one small rule per operator. No torch, no runtime: onnx and numpy.

    prepared = prepare(onnx.load("classifier.onnx"))
    graph = differentiate(prepared, "weight_norms")

`graph.py` says what a graph is, `folding.py` (with `placing.py`) and `simplify.py` bring one into shape,
`shared.py` keeps what trained weights make of constants alone, `registry.py` holds the table of rules
and says how to add one, `backward.py` is the loop that applies them, `factors.py` turns weight gradients
into norms, `context.py` is a graph under construction, `forward_outputs.py` and `norm_outputs.py` emit
its outputs, and `build.py` lists them.
"""

from __future__ import annotations

import export.gradient.rules.convolution
import export.gradient.rules.movement
import export.gradient.rules.pointwise
import export.gradient.rules.products
import export.gradient.rules.reduction  # noqa: F401  (these five fill the table of rules)
from export.gradient.build import differentiate
from export.gradient.prepare import Prepared, prepare
from export.graph.errors import GradientError, InvalidModel, UnsupportedGraph, UnsupportedOperator
from export.graph.graph import OPSET
from export.graph.precision import to_float64

__all__ = [
    "OPSET",
    "GradientError",
    "InvalidModel",
    "Prepared",
    "UnsupportedGraph",
    "UnsupportedOperator",
    "differentiate",
    "prepare",
    "to_float64",
]
