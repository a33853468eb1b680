"""ONNX → gradient ONNX, by one small rule per operator. No torch, no runtime: onnx and numpy.

prepared = prepare(onnx.load("classifier.onnx"))
graph = differentiate(prepared, "weight_norms")

prepare.py, simplify.py, shared.py    bring a classifier's forward graph into shape
rules/                                one rule per operator; `registry.py` says how to add one
backward.py                           the loop that applies them
norms/                                decides how each layer's norms are computed, and emits that
forward_outputs.py, norm_outputs.py   emit the outputs that `service/contract/outputs.py` lists
layout/                               fits what was emitted to ONNX Runtime
context.py, build.py                  put a graph together
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
from export.standard.precision import to_float64

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
