"""Every rule, by two oracles: central differences in float64, and float32 on ONNX Runtime."""

from __future__ import annotations

import pytest

from export.gradient import registry

from .cases import Case
from .runner import (
    assert_agrees_with_central_differences,
    assert_float32_agrees_with_float64,
    assert_samples_do_not_mix,
)
from .table import TABLE


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
    assert {case.operator for case in TABLE} >= set(registry.operators_with_rules())
