"""ONNX → gradient ONNX, by one small rule per operator. No torch, no runtime: onnx and numpy.

prepared = prepare(onnx.load("classifier.onnx"))
graph = differentiate(prepared, "weight_norms")

prepare           a classifier's forward graph, its layers, and its backward pass
simplify          simplifies the forward graph
shared            tensors that are the same for all samples
backward          the loop that applies the rules
rules/            one rule per operator; `registry` says how to add one
norms/            decides how each layer's norms are computed, and emits that
layout/           fits what was emitted to ONNX Runtime
build             gradient graphs, one for every set of outputs
context           a gradient graph under construction
outputs           which function emits each output of `service.contract.outputs`
forward_outputs   outputs that need no backward pass
norm_outputs      norms and the input gradient
slope_outputs     slopes along a change of the network
slopes            emits them, and notes which constants they take
affine            normalizations that are folded into no layer, for the slopes
"""

from __future__ import annotations

import export.gradient.rules.convolution
import export.gradient.rules.movement
import export.gradient.rules.pointwise
import export.gradient.rules.products
import export.gradient.rules.reduction
import export.gradient.rules.refusals  # noqa: F401  (these six fill the table of rules)
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
