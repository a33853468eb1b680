"""Slopes along a change of all trained numbers, held to central differences of the loss, and what structures are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export.gradient import differentiate, prepare
from export.graph.parameters import DIFFERENCE, part_of
from export.running.reference import evaluate
from export.writing.bundle import graph_files, write_files
from export.writing.structure import structure_of
from service.contract.outputs import outputs_of
from tests.export.gradient.cases.case import Case
from tests.export.gradient.cases.table import TABLE
from tests.export.gradient.rules.oracles import in_double, losses, network
from tests.export.gradient.rules.runner import LABELS, feeds

STEP = 1e-6
UNTRAINED = {"Clip": (1, 2), "Pow": (1,), "Pad": (2,), "Resize": (1, 2), "OneHot": (2,)}
"""Operands that are floats and part of the architecture all the same."""
NO_INFLUENCE = ("CastLike", "GridSample mode=nearest")
"""Cases in which a number without a gradient is changed too: then the architecture is another one."""


@pytest.fixture(params=TABLE, ids=str, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return request.param  # type: ignore[no-any-return]


def changed(model: onnx.ModelProto, case: Case, step: float) -> onnx.ModelProto:
    """Return `model` with every trained number changed by `step` times a number of its own."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    random = np.random.default_rng(5)
    for tensor in other.graph.initializer:
        value = numpy_helper.to_array(tensor)
        direction = random.uniform(-1, 1, value.shape)
        fixed = any(tensor.name.startswith(f"p{place}.") for place in UNTRAINED.get(case.operator, ()))
        if np.issubdtype(value.dtype, np.floating) and not fixed:
            tensor.CopyFrom(numpy_helper.from_array((value + step * direction).astype(value.dtype), tensor.name))
    return other


def numbers(model: onnx.ModelProto) -> Mapping[str, np.ndarray]:
    """Return the trained tensors of a graph of slopes."""
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if part_of(tensor) is not None and not tensor.name.endswith(DIFFERENCE)
    }


def test_all_slopes_together_are_the_derivative_of_the_loss(case: Case) -> None:
    given = feeds(case, np.float64)
    behind, here, ahead = (
        differentiate(prepare(changed(in_double(case), case, step)), "loss_slopes") for step in (-STEP, 0.0, STEP)
    )
    before, after = numbers(behind), numbers(ahead)
    assert before.keys() == after.keys()
    for tensor in here.graph.initializer:
        if tensor.name.endswith(DIFFERENCE):
            of = tensor.name.removesuffix(DIFFERENCE)
            tensor.CopyFrom(numpy_helper.from_array((after[of] - before[of]) / (2 * STEP), tensor.name))
    found = evaluate(here, given)
    label = np.array([*LABELS[:2], found["logits"][2].argmax()])
    ends = (losses(evaluate(model, given)["logits"], label) for model in (ahead, behind))
    expected = next(ends) - next(ends)
    total = found["layer_slope"].sum(axis=1) + found["other_slope"].sum(axis=1) + found["rest_slope"]
    np.testing.assert_allclose(total, expected / (2 * STEP), rtol=1e-5, atol=1e-7)
    assert set(found) == set(outputs_of("loss_slopes"))


def test_versions_of_one_architecture_have_one_structure(case: Case, tmp_path: Path) -> None:
    structures = []
    for step in (0.0, 0.01):
        folder = tmp_path / str(step)
        folder.mkdir()
        graph = differentiate(prepare(changed(network(case), case, step)), "loss_slopes")
        write_files(graph_files({"loss_slopes": graph}), folder)
        structures.append(structure_of(folder / "loss_slopes.onnx"))
    (first, parameters), (second, others) = structures
    assert (first == second) is not str(case).startswith(NO_INFLUENCE)
    assert [one.shape for one in parameters] == [one.shape for one in others]
