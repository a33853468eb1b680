"""`POST /predict`: images in, ranked labels out.

The endpoint is called by the gateway itself, with the body already read: between the server and the
run slots there is nothing else. The route below it tells the documentation about it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Request, Response
from numpy.typing import NDArray

from service.bundles.registry import Registry, ServedModel
from service.contract.runtime import CPU, Runtime
from service.engine.batching import Outcome
from service.engine.decoding import DecodePool
from service.engine.engine import Engine
from service.engine.request_context import RequestContext
from service.errors import InvalidParameter
from service.http.answers.openapi import ERRORS, image_request, names_of
from service.http.answers.responses import JSON, Answer, identity, to_json
from service.http.answers.schemas import Predictions
from service.http.requests.forms import Limits, declared_kind, kind_of, read_form_off_the_loop
from service.http.requests.submission import Submission, check_names, read_query, read_top_k, single
from service.images.files import quick_pixel_count
from service.monitoring.sampling import Sampler
from service.settings import Settings

Array = NDArray[Any]

SMALL_IMAGE = 2**16
"""Pixels up to which a run slot decodes an image itself: cheaper than handing it over once more."""

LONGEST_CACHED_QUERY = 200

REQUEST = image_request()
NAMES = names_of(REQUEST)


class PredictEndpoint:
    """Answers `POST /predict`."""

    def __init__(
        self, registry: Registry, engine: Engine, decode_pool: DecodePool, sampler: Sampler, runtime: Runtime,
        settings: Settings,
    ) -> None:  # fmt: skip
        self._registry = registry
        self._engine = engine
        self._decode_pool = decode_pool
        self._sampler = sampler
        self._slots_decode = runtime.provider == CPU
        self._limits = Limits(settings.max_images, settings.max_json_depth)
        self._writers: WeakKeyDictionary[ServedModel, AnswerWriter] = WeakKeyDictionary()

    async def __call__(
        self, body: bytes, headers: Mapping[bytes, bytes], query_string: bytes, context: RequestContext
    ) -> Answer:
        content_type = headers.get(b"content-type", b"")
        images: tuple[bytes, ...]
        if body and kind_of(content_type, body) == "raw":
            name, version, top_k = _selection(query_string)
            model, images = self._registry.select(name, version), (body,)
        else:
            model, top_k, images = await self._take_apart(body, content_type, query_string, context)
        outputs = await self._run(model, images, context)
        return self._answer(model, images, outputs, top_k, context)

    def takes(self, body: bytes, headers: Mapping[bytes, bytes]) -> bool:
        """Whether the request is one for `begin`: a picture, so small that a run slot decodes it itself."""
        return (
            self._is_small(body)
            and declared_kind(headers.get(b"content-type", b"")) in ("raw", "urlencoded")
            and b"content-encoding" not in headers
        )

    def begin(
        self, image: bytes, query_string: bytes, context: RequestContext, answer: Callable[[Answer | Exception], None]
    ) -> None:
        """Predicts for one small picture; `answer` is called with what comes of it, and must not raise.

        Raises:
            ServiceError: it does not come to a run; `answer` is not called then.
        """
        name, version, top_k = _selection(query_string)
        model = self._registry.select(name, version)
        graph = model.graph("forward")

        def finish(outcome: Outcome) -> None:
            if isinstance(outcome, Exception):
                answer(outcome)
                return
            try:
                written = self._answer(model, (image,), outcome, top_k, context)
            except Exception as error:
                answer(error)
            else:
                answer(written)

        self._engine.begin(model, graph, image, finish, request=context)

    async def _take_apart(
        self, body: bytes, content_type: bytes, query_string: bytes, context: RequestContext
    ) -> tuple[ServedModel, int, tuple[bytes, ...]]:
        form = await read_form_off_the_loop(body, content_type, NAMES, self._limits)
        query = read_query(query_string)
        submission = Submission(form, query, NAMES, self._registry, self._decode_pool, context)
        if len(submission.models) > 1:
            raise InvalidParameter("`model` is given more than once; /diagnostics/compare takes several.")
        return submission.model, submission.top_k, submission.images

    async def _run(self, model: ServedModel, images: tuple[bytes, ...], context: RequestContext) -> dict[str, Array]:
        graph = model.graph("forward")
        if graph.state != "ready":
            await self._engine.load(model, graph, len(images), context)  # before decoding: pixels take more than files
        if len(images) == 1 and self._is_small(images[0]):
            return await self._engine.run(model, "forward", images, request=context)
        decoded = await self._decode_pool.pixels(images, model.bundle.input, context)
        return await self._engine.run(model, "forward", decoded, request=context)

    def _is_small(self, image: bytes) -> bool:
        pixels = quick_pixel_count(image) if self._slots_decode else None
        return pixels is not None and pixels <= SMALL_IMAGE

    def _answer(
        self, model: ServedModel, images: tuple[bytes, ...], outputs: dict[str, Array], top_k: int,
        context: RequestContext,
    ) -> Answer:  # fmt: skip
        if self._sampler.share:
            self._sampler.offer(model, images)
        return 200, [JSON], self._writer(model).write(outputs, top_k, context.id)

    def _writer(self, model: ServedModel) -> AnswerWriter:
        writer = self._writers.get(model)
        if writer is None:
            writer = self._writers[model] = AnswerWriter(model)
        return writer


class AnswerWriter:
    """Writes the answers of one model, with everything that never changes prepared."""

    def __init__(self, model: ServedModel) -> None:
        # Not the model itself: it would never be collected, being the key that this is remembered under.
        self._labels = model.bundle.labels
        self._head = to_json(identity(model, "")).removesuffix(b'"}')
        self._entries = [
            f'{{"label":{json.dumps(label, ensure_ascii=False)},"index":{index},"probability":'
            for index, label in enumerate(model.bundle.labels)
        ]

    def write(self, outputs: Mapping[str, Array], top_k: int, request_id: str) -> bytes:
        """The JSON answer for `probabilities` and `ranking` [n, K]."""
        ranking = outputs["ranking"][:, :top_k].tolist()
        rows = outputs["probabilities"].tolist()
        if all(map(math.isfinite, [row[0] for row in rows])):
            predictions = self._predictions(rows, ranking).encode()
        else:
            predictions = to_json(self._plain_predictions(rows, ranking))
        return b'%s%s","predictions":%s}' % (self._head, request_id.encode(), predictions)

    def _predictions(self, rows: list[list[float]], ranking: list[list[int]]) -> str:
        """JSON by hand; nine digits are a float32 exactly. A row with one NaN is all NaN, and none gets here."""
        entries = self._entries
        texts = [
            '{"labels":[' + ",".join([f"{entries[c]}{row[c]:.9g}}}" for c in classes]) + "]}"
            for row, classes in zip(rows, ranking, strict=True)
        ]
        return "[" + ",".join(texts) + "]"

    def _plain_predictions(self, rows: list[list[float]], ranking: list[list[int]]) -> list[dict[str, Any]]:
        return [
            {"labels": [{"label": self._labels[c], "index": c, "probability": row[c]} for c in classes]}
            for row, classes in zip(rows, ranking, strict=True)
        ]


def _selection(query_string: bytes) -> tuple[str | None, str | None, int]:
    """Model, version and top_k by the query; short queries are remembered, as clients repeat theirs."""
    if len(query_string) > LONGEST_CACHED_QUERY:
        return _parse_selection.__wrapped__(query_string)
    return _parse_selection(query_string)


@lru_cache(maxsize=256)
def _parse_selection(query_string: bytes) -> tuple[str | None, str | None, int]:
    query = read_query(query_string)
    check_names(query, NAMES)
    return single(query, "model"), single(query, "version"), read_top_k(single(query, "top_k"))


router = APIRouter()


@router.post("/predict", response_model=Predictions, responses=ERRORS, openapi_extra=REQUEST, tags=["predict"])
async def predict(request: Request) -> Response:
    """Ranked labels with probabilities for every image.

    A client that closes its connection before the answer, or only its sending side, is taken for gone: nothing more is
    computed for it, and the request counts as cancelled.
    """
    endpoint: PredictEndpoint = request.app.state.predict
    status, headers, body = await endpoint(
        await request.body(), dict(request.scope["headers"]), request.scope["query_string"], request.state.context
    )
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})
