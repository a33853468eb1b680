"""The kinds of requests, one row each: its share, its manner, and the statuses that are right."""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PIL import Image

from bench.harness.client import BROKEN, post
from bench.harness.paths import PHOTOGRAPHS
from tests.soak.folder import FRAGILE, GUEST, SWAPPED
from tests.soak.manners import Manner

FEW = ("cat", "ship", "frog")
"""Pictures that diagnostics are asked about: their answers are long, and all are stored."""

ILL_CONDITIONED = {"plain20-sigmoid"}
"""Models not asked for scores: where gradients have vanished, the distance of their logarithms magnifies last bits."""

REQUEST_ID = "X-Request-Id: soak"
"""The same for all, so that equal answers are equal bytes."""
JSON = ("Content-Type: application/json",)
OFFER = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB")
RAW = ("Inference-Header-Content-Length: 0",)


@dataclass(frozen=True, slots=True)
class Kind:
    """Requests of one kind, written out; one is drawn at random each time."""

    name: str
    share: float
    """Number among a thousand requests."""
    requests: tuple[bytes, ...]
    statuses: frozenset[int] = frozenset({200})
    manner: Manner = "whole"

    @property
    def checked(self) -> bool:
        """Answers of this kind are compared with stored ones."""
        return 200 in self.statuses


def kinds(steady: Sequence[str], most_pictures: int | None = None) -> list[Kind]:
    """Return every kind, the commonest first; `steady` are the models that never change."""
    paths = sorted(path for path in PHOTOGRAPHS.iterdir() if path.suffix in (".jpg", ".png", ".webp"))
    pictures = [path.read_bytes() for path in paths][:most_pictures]
    few = [(PHOTOGRAPHS / f"{name}.jpg").read_bytes() for name in FEW][:most_pictures]
    return [
        *_good(steady, pictures, few),
        *_bad(steady[0], pictures[0]),
        *_failing(),
        *_cancelled(steady, pictures, few),
    ]


def _good(steady: Sequence[str], pictures: list[bytes], few: list[bytes]) -> Iterable[Kind]:
    models = [*steady, SWAPPED, FRAGILE]
    three = json.dumps({"images": [base64.b64encode(picture).decode() for picture in few]}).encode()
    predict = _each("/predict?model={}", [*models, FRAGILE, FRAGILE], pictures)
    gradients = "/diagnostics/gradients?model={}&label=3"
    yield Kind("predict", 720, predict)
    yield Kind("predict, uploaded slowly", 10, predict, manner="pieces")
    yield Kind("predict, with an offer of HTTP/2", 10, _each("/predict?model={}", steady, pictures, OFFER))
    yield Kind("predict, three images as JSON", 15, _each("/predict?model={}", models, [three], JSON))
    yield Kind("open protocol, a raw image", 30, _each("/v2/models/{}/infer", models, pictures, RAW))
    yield Kind("open protocol, gradients", 2, tuple(_infer_gradients(m, p) for m in steady for p in few))
    yield Kind("gradients", 4, _each(gradients, steady, few))
    yield Kind("gradients, as SVG", 2, _each(gradients + "&format=svg", steady, few))
    scored = [model for model in steady if model not in ILL_CONDITIONED]
    yield Kind("scores", 4, _each("/diagnostics/scores?model={}&label=3", scored, few))
    yield Kind("features", 0.5, _each("/diagnostics/features?model={}", steady[:2], few))
    yield Kind("compare", 0.5, _each("/diagnostics/compare?model={}&model=" + steady[1], steady[:1], few))
    yield Kind("shattering", 0.5, _each("/diagnostics/shattering?model={}&points=32", steady[:2], few))
    maybe_not_ready, maybe_absent = frozenset({200, 503}), frozenset({200, 404})
    yield Kind("gradients of the swapped bundle", 1, _each(gradients, [SWAPPED], few), maybe_not_ready)
    yield Kind("predict on the bundle that comes and goes", 15, _each("/predict?model={}", [GUEST], few), maybe_absent)


def _bad(model: str, picture: bytes) -> Iterable[Kind]:
    address, infer = f"/predict?model={model}", f"/v2/models/{model}/infer"
    corrupt = picture[: len(picture) // 3] + b"\0" * 200
    bad = {
        ("nothing", 400): _post(address, b""),
        ("no image", 415): _post(address, b"no image at all"),
        ("a corrupt image", 422): _post(address, corrupt),
        ("an unknown model", 404): _post("/predict?model=nobody", picture),
        ("an unknown label", 422): _post(f"/diagnostics/gradients?model={model}&label=nobody", picture),
        ("JSON cut short", 400): _post(address, b'{"images": ["', *JSON),
        ("open protocol, a wrong shape", 400): _post(infer, _infer_document([1, 2, 3], [0.0] * 6)),
        ("open protocol, an unknown model", 404): _post("/v2/models/nobody/infer", picture, *RAW),
    }
    for (name, status), request in bad.items():
        yield Kind("bad: " + name, 12, (request,), frozenset({status}))
    late = frozenset({408})
    request = _post(address, picture)
    yield Kind("bad: a body that never ends", 0.1, (request,), late, manner="half a body")
    yield Kind("bad: a head that never ends", 0.1, (request,), late, manner="half a head")


def _failing() -> Iterable[Kind]:
    """Yield requests whose run fails: a white picture on the fragile bundle. Others in the batch must not notice."""
    file = io.BytesIO()
    Image.new("RGB", (32, 32), "white").save(file, "PNG")
    white, failed = file.getvalue(), frozenset({500})
    yield Kind("failing: predict", 20, _each("/predict?model={}", [FRAGILE], [white]), failed)
    yield Kind("failing: open protocol", 5, _each("/v2/models/{}/infer", [FRAGILE], [white], RAW), failed)


def _cancelled(steady: Sequence[str], pictures: list[bytes], few: list[bytes]) -> Iterable[Kind]:
    predict = _each("/predict?model={}", [*steady, SWAPPED, FRAGILE], pictures)
    gradients = _each("/diagnostics/gradients?model={}", steady, few)
    yield Kind("cancelled: predict", 70, predict, frozenset({BROKEN}), manner="cancelled")
    yield Kind("cancelled: predict, sending side shut", 10, predict, frozenset({BROKEN}), manner="shut")
    yield Kind("cancelled: gradients", 3, gradients, frozenset({BROKEN}), manner="cancelled")


def _each(
    address: str, models: Sequence[str], bodies: Sequence[bytes], headers: Sequence[str] = ()
) -> tuple[bytes, ...]:
    """Return the request for every model and body."""
    return tuple(_post(address.format(model), body, *headers) for model, body in itertools.product(models, bodies))


def _post(address: str, body: bytes, *headers: str) -> bytes:
    return post(address, body, REQUEST_ID, *headers)


def _infer_document(shape: list[int], data: list[float]) -> bytes:
    return json.dumps({"inputs": [{"name": "input", "shape": shape, "datatype": "FP32", "data": data}]}).encode()


def _infer_gradients(model: str, picture: bytes) -> bytes:
    """Ask for logits and weight gradients of one encoded image, which follows the JSON as a binary tensor."""
    tensor = len(picture).to_bytes(4, "little") + picture
    size = {"binary_data_size": len(tensor)}
    document = {
        "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "parameters": size}],
        "outputs": [{"name": "logits"}, {"name": "weight_gradient_norm"}],
    }
    head = json.dumps(document).encode()
    return _post(f"/v2/models/{model}/infer", head + tensor, f"Inference-Header-Content-Length: {len(head)}")
