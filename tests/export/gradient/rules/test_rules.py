"""Every rule, by two oracles: central differences in float64, and float32 on ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from export.gradient.rules import registry
from export.standard.decompose import REWRITES
from tests.export.gradient.cases.case import Case
from tests.export.gradient.cases.table import TABLE
from tests.export.gradient.rules.runner import (
    assert_agrees_with_central_differences,
    assert_float32_agrees_with_float64,
    assert_samples_do_not_mix,
)


@pytest.fixture(params=TABLE, ids=str, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    """Every case in turn, with all its tests before the next: its graphs are built once."""
    return request.param  # type: ignore[no-any-return]


def test_gradients_agree_with_central_differences_in_float64(case: Case) -> None:
    assert_agrees_with_central_differences(case)


def test_float32_on_onnx_runtime_agrees_with_float64(case: Case) -> None:
    assert_float32_agrees_with_float64(case)


def test_a_sample_is_the_same_alone_and_beside_nan(case: Case) -> None:
    assert_samples_do_not_mix(case)


def test_every_rule_has_a_case() -> None:
    assert {case.operator for case in TABLE} >= {*registry.operators_with_rules(), *REWRITES}


def test_the_advice_names_what_is_rewritten_too() -> None:
    assert set(REWRITES) <= set(registry.known_operators())


def test_every_operator_with_weights_has_its_norm_checked() -> None:
    with_weights = {case.operator for case in TABLE if any(isinstance(entry, np.ndarray) for entry in case.operands)}
    assert with_weights >= {operator for operator in registry.operators_with_rules() if registry.has_weight(operator)}


# What image classifiers use; SiLU is written with Sigmoid and Mul until opset 24.
USED_BY_CLASSIFIERS = """
    Conv ConvTranspose Gemm MatMul BatchNormalization InstanceNormalization LayerNormalization GroupNormalization LRN
    Relu LeakyRelu PRelu Elu Selu Celu Clip Sigmoid HardSigmoid HardSwish Mish Tanh Softplus Softsign Gelu Erf
    Softmax LogSoftmax Add Sub Mul Div Pow Sqrt Exp Log Abs Neg Reciprocal Min Max Where
    MaxPool AveragePool GlobalAveragePool GlobalMaxPool
    ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2 ReduceSumSquare
    Flatten Reshape Squeeze Unsqueeze Transpose Concat Split Slice Pad Gather Expand Tile Identity Cast Dropout
    DepthToSpace SpaceToDepth Resize Einsum
"""


@pytest.mark.parametrize("operator", USED_BY_CLASSIFIERS.split())
def test_what_classifiers_use_has_a_case(operator: str) -> None:
    assert any(case.operator == operator for case in TABLE)
