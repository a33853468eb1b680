"""Pixels that are normalised on the device: equal to `normalise` bit for bit, for every kind of input."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from service.bundles.served_model import ServedGraph
from service.contract.arrays import Array
from service.contract.bundle_schema import InputSpec
from service.contract.runtime.gpu.pixel_graph import Layout, PixelFeed, pixel_model
from service.contract.runtime.opening import Runtime
from service.engine.execution import execute
from service.engine.tickets import Batch, Ticket
from service.images.pixel_table import pixel_table
from service.images.preprocess import normalise
from tests.service.tiny_bundles import write_bundle

SPECS = [
    InputSpec.model_validate(
        {
            "height": 5, "width": 7, "channels": channels, "channel_order": order, "layout": layout, "scale": scale,
            "mean": (0.4914, 0.4822, -3e4)[:channels], "std": (0.2470, 1e-3, 7.0)[:channels],
        }
    )
    for channels, order, layout, scale in product((1, 3), ("rgb", "bgr"), ("nchw", "nhwc"), (1.0, 255.0, -0.3))
]  # fmt: skip


def all_pixels(channels: int) -> Array:
    """Return pictures in which every channel has every value of a pixel, in different places."""
    drawn = np.random.default_rng(channels)
    columns = [drawn.permutation(np.arange(8 * 35) % 256) for _ in range(channels)]
    return np.stack(columns, axis=-1).reshape(8, 5, 7, channels).astype(np.uint8)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.channels}-{spec.channel_order}-{spec.layout}")
def test_the_device_normalises_as_the_host_does(spec: InputSpec) -> None:
    device = Runtime("cpu", bound=True).device
    assert device is not None
    pixels = all_pixels(spec.channels)
    for parts in ((pixels,), (pixels[:1], pixels[1:3], pixels[3:])):
        found = device.value(PixelFeed(parts, pixel_table(spec)), None).numpy()
        np.testing.assert_array_equal(found, normalise(pixels, spec))
        assert found.dtype == np.float32


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_graph_is_a_valid_model(layout: Layout) -> None:
    model = onnx.load_from_string(pixel_model(layout))
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Gather", "Transpose", "Cast", "Add", "Gather"]


def served(runtime: Runtime, folder: Path, **changes: Any) -> ServedGraph:
    spec = InputSpec(height=8, width=8, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), **changes)
    graph = ServedGraph("tiny@1", "forward", spec)
    graph.open(runtime.open(folder / "forward.onnx"), 8, 0.01)
    return graph


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_requests_get_the_same_answers_from_a_device_and_from_the_host(order: str, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path)
    drawn = np.random.default_rng(0)
    pictures = [drawn.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8) for count in (1, 3)]
    tensor = drawn.normal(size=(2, 3, 8, 8)).astype(np.float32)
    batches: list[list[Array]] = [pictures[:1], pictures, [*pictures, tensor]]
    for images in batches:
        outcomes = []
        for bound in (True, False):
            graph = served(Runtime("cpu", bound=bound), folder, channel_order=order)
            tickets = [Ticket(graph, part, None, lambda ticket, outcome: None) for part in images]
            execute(Batch(graph, tickets, 0.0))
            outcomes.append([ticket.outcome for ticket in tickets])
        for found, expected in zip(*outcomes, strict=True):
            assert isinstance(found, dict)
            assert isinstance(expected, dict)
            np.testing.assert_array_equal(found["logits"], expected["logits"])
