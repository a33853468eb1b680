"""A graph that is opened with other numbers in place of stored ones."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from service.contract.arrays import Array
from service.contract.bundle_schema import WEIGHTS_FILE
from service.contract.runtime.opening import Runtime
from tests.service.contract.runtime.sessions import TWENTY_LAYERS, assert_equal, drawn

FORWARD = TWENTY_LAYERS / "forward.onnx"
LAYER = "classifier.weight"


def stored() -> Array:
    """Return the weight of the last layer, [10, 64], which lies somewhere in the file."""
    model = onnx.load(FORWARD)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == LAYER)
    return np.array(onnx.numpy_helper.to_array(tensor))


@pytest.mark.parametrize("device", [False, True], ids=["session", "bound session"])
def test_other_weights_are_constants_of_their_session_alone(device: bool) -> None:
    runtime = Runtime("cpu", bound=device)
    first = runtime.open(FORWARD)
    feeds = drawn(first, 3)
    same = runtime.open(FORWARD, {LAYER: stored()})
    assert_equal(same.run(feeds), first.run(feeds))
    twice = runtime.open(FORWARD, {LAYER: 2 * stored()})
    found, expected = (session.run(feeds) for session in (twice, first))
    np.testing.assert_array_equal(found["features"], expected["features"])
    bias = found["logits"] - 2 * expected["logits"]  # −b: the same for every image
    np.testing.assert_allclose(bias, np.broadcast_to(bias[0], bias.shape), atol=1e-5)
    assert np.abs(found["logits"] - expected["logits"]).max() > 0.1
    assert_equal(runtime.open(FORWARD).run(feeds), expected)


def test_such_a_session_is_not_widened() -> None:
    session = Runtime("cpu", most_threads=4).open(FORWARD, {LAYER: stored()})
    assert session.most_threads == 1
    assert session.open_widened(FORWARD) is None


def test_a_tensor_that_is_not_there_is_refused() -> None:
    assert (TWENTY_LAYERS / WEIGHTS_FILE).exists()
    with pytest.raises(Exception, match="Failed to find existing initializer"):
        Runtime("cpu").open(FORWARD, {"no_such_tensor": np.ones(3, np.float32)})


def test_a_tensor_of_another_shape_is_refused() -> None:
    with pytest.raises(Exception, match="dimensions do not match"):
        Runtime("cpu").open(FORWARD, {LAYER: np.ones((3, 3), np.float32)})
