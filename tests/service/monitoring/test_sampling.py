"""`sample_gradients`: gradients of a share of live predictions appear in `/metrics` and hold no request up."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from service.diagnostics.baseline import LAYER_SHARE, MODEL_SHARE
from tests.service.live_server import LiveServer, running, wait_until

ROOT = Path(__file__).parents[3]
BUNDLES = ROOT / "models" / "bundles"
PHOTOGRAPHS = [path.read_bytes() for path in sorted((ROOT / "service" / "static" / "samples").glob("*.jpg"))]
GAUGES = (
    "contraflow_layer_gradient",
    "contraflow_layer_gradient_to_baseline",
    "contraflow_layer_gradient_outside_share",
)


@pytest.fixture(scope="module")
def sampling_server() -> Iterator[LiveServer]:
    with running(BUNDLES, default_model="resnet20", sample_gradients=1.0, warm_up=False) as server:
        yield server


def series(server: LiveServer, name: str) -> dict[str, float]:
    """Return resnet20's gauge of each layer, or its counter of each outcome."""
    with server.client() as client:
        families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    return {
        sample.labels.get("layer") or sample.labels["outcome"]: sample.value
        for sample in families[name].samples
        if not sample.name.endswith("_created")
    }


def send(server: LiveServer, images: list[bytes]) -> None:
    """Predict each image once the one before has been measured, as on a service with time to spare."""
    server.state.sampler.live.clear()
    with server.client() as client:
        for number, image in enumerate(images, 1):
            assert client.post("/predict", content=image).status_code == 200
            wait_until(lambda number=number: measured(server) == number)


def measured(server: LiveServer) -> int:
    return sum(live.counts["measured"] for live in server.state.sampler.live.values())


def noise(count: int) -> list[bytes]:
    return as_files(np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8))


def underexposed() -> list[bytes]:
    """The photographs with an eighth of their light."""
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in PHOTOGRAPHS])
    return as_files(pixels // 8)


def as_files(pixels: np.ndarray) -> list[bytes]:
    files = [io.BytesIO() for _ in pixels]
    for file, one in zip(files, pixels, strict=True):
        Image.fromarray(one).save(file, "PNG")
    return [file.getvalue() for file in files]


def unlike_itself(server: LiveServer) -> bool:
    """The alert rule's expression: too many images are outside the range in too many layers."""
    outside = series(server, "contraflow_layer_gradient_outside_share").values()
    return float(np.mean([share > LAYER_SHARE for share in outside])) > MODEL_SHARE


def test_photographs_like_those_of_the_training_leave_the_model_like_itself(sampling_server: LiveServer) -> None:
    send(sampling_server, PHOTOGRAPHS)
    layers = [layer.name for layer in sampling_server.state.registry.select("resnet20").bundle.layers]
    for gauge in GAUGES:
        assert list(series(sampling_server, gauge)) == layers
    assert all(0.1 < ratio < 10 for ratio in series(sampling_server, GAUGES[1]).values())
    assert not unlike_itself(sampling_server)
    assert series(sampling_server, "contraflow_sampled_gradients")["measured"] == len(PHOTOGRAPHS)


def test_underexposed_photographs_make_the_model_unlike_itself(sampling_server: LiveServer) -> None:
    send(sampling_server, underexposed())
    assert unlike_itself(sampling_server)


def test_the_distance_of_the_layer_norms_notices_what_no_single_layer_does(sampling_server: LiveServer) -> None:
    distances = []
    for images in (PHOTOGRAPHS, noise(8)):
        send(sampling_server, images)
        assert not unlike_itself(sampling_server)
        (live,) = sampling_server.state.sampler.live.values()
        assert live.distance is not None
        distances.append(live.distance)
    assert distances[0] < 1.3 < distances[1]
    with sampling_server.client() as client:
        assert "contraflow_layer_norm_distance{" in client.get("/metrics").text


def test_one_image_at_a_time_is_measured_and_the_others_are_dropped(sampling_server: LiveServer) -> None:
    sampler = sampling_server.state.sampler
    send(sampling_server, PHOTOGRAPHS[:1])
    model = sampling_server.state.registry.select("resnet20")

    async def offer_two() -> None:
        sampler.offer(model, (PHOTOGRAPHS[0],))
        sampler.offer(model, (PHOTOGRAPHS[1],))

    asyncio.run_coroutine_threadsafe(offer_two(), sampling_server.state.engine._loop).result(30)
    wait_until(lambda: measured(sampling_server) == 2)
    assert sampler.live[model].counts["dropped"] == 1


def test_nothing_is_sampled_unasked(tiny_server: LiveServer) -> None:
    sampler = tiny_server.state.sampler
    assert sampler.share == 0
    with tiny_server.client() as client:
        client.post("/predict", content=PHOTOGRAPHS[0])
        assert "contraflow_layer_gradient{" not in client.get("/metrics").text
    assert not sampler.live
