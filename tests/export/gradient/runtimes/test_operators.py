"""Where OpenVINO computes an operator as ONNX Runtime does, it computes its gradient so too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from export.gradient import differentiate, prepare
from export.running.runs import in_onnxruntime
from tests.export.gradient.cases.case import Case
from tests.export.gradient.cases.table import TABLE
from tests.export.gradient.rules.oracles import network
from tests.export.gradient.rules.runner import OUTPUTS, feeds
from tests.export.gradient.runtimes.runtimes import assert_agree, in_openvino

QUICK = {"Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Clip", "HardSigmoid", "HardSwish", "Max", "MaxPool"}
"""Operators with a kink; the others take a minute."""
CLASSES = 37
"""Not the width of any case: OpenVINO 2026.4 takes a square matrix for its transpose if a graph reads both."""
SQUARE = {"DFT", "DFT inverse=1"}
"""Cases that multiply by a square matrix all the same."""
TOLERANCE = 1e-4


def cases() -> list[Any]:
    """The whole table, most of it slow."""
    marks = {case: [] if case.operator in QUICK else [pytest.mark.slow] for case in TABLE if str(case) not in SQUARE}
    return [pytest.param(case, id=str(case), marks=marks) for case, marks in marks.items()]


@pytest.mark.parametrize("case", cases())
def test_gradients_in_openvino_agree_with_onnx_runtime(case: Case) -> None:
    forward, given = network(case, CLASSES), feeds(case, np.float32)
    image = {"image": given["input"]}
    try:
        assert_agree(in_openvino(forward)(image), in_onnxruntime(forward)(image), TOLERANCE)
    except (RuntimeError, AssertionError) as error:
        assert case.operator not in QUICK, "OpenVINO has these right"
        pytest.skip(f"OpenVINO refuses {case}, or computes it otherwise: {str(error)[:80]}")
    gradient = differentiate(prepare(forward), OUTPUTS)
    assert_agree(in_openvino(gradient)(given), in_onnxruntime(gradient)(given), TOLERANCE)
