"""`POST /predict`: images in, ranked labels out."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from fastapi import APIRouter

from service.bundles.served_model import ServedModel
from service.contract.arrays import Array
from service.contract.label_kinds import INDEPENDENT
from service.contract.runtime.provider import CPU
from service.engine.tickets import Outcome
from service.errors import InvalidParameter
from service.http.answers.openapi import image_request, names_of
from service.http.answers.responses import JSON, Answer, identity, to_json
from service.http.answers.schemas import Predictions
from service.http.calls.call import Call
from service.http.requests.forms import kind_of
from service.http.requests.submission import check_names, read_query, read_top_k, single
from service.http.routes.submissions import read_submission
from service.http.routes.top_labels import keep_top_labels
from service.images.files import quick_pixel_count

SMALL_IMAGE = 2**16
"""Pixels up to which a run slot decodes an image itself: that is cheaper than handing it over once more."""

SMALL_IMAGE_FOR_A_GPU = 2**12
"""The same where a GPU waits for the slot: 64 × 64 pixels take about as long as handing them over."""

LONGEST_CACHED_QUERY = 200

REQUEST = image_request("top_k")
NAMES = names_of(REQUEST)

router = APIRouter()


@router.post("/predict", response_model=Predictions, openapi_extra=REQUEST, tags=["predict"])
def predict(call: Call) -> Awaitable[Answer] | None:
    """Ranked labels with probabilities for every image.

    A client that closes its connection before the answer, or only its sending side, counts as gone: nothing more is
    computed for it, and the request counts as cancelled.
    """
    body = call.body
    if not body or kind_of(call.fields.get(b"content-type", b""), body) != "raw":
        return _predict_form(call)
    name, version, top_k = _selection(call.scope["query_string"])
    service = call.service
    model = service.registry.select(name, version)
    call.context.model = model.full_name
    prediction = Prediction(call, model, (body,), top_k)
    graph = model.graph("forward")
    if call.in_task or not prediction.is_small or graph.state != "ready":
        return prediction.answer()
    service.engine.submit(graph, (body,), prediction.deliver, request=call.context)
    return None


async def _predict_form(call: Call) -> Answer:
    submission = await read_submission(call, NAMES)
    if len(submission.models) > 1:
        raise InvalidParameter("`model` is given more than once; /diagnostics/compare takes several.")
    return await Prediction(call, submission.model, submission.images, submission.top_k).answer()


class Prediction:
    """The run of one call's images through one model."""

    __slots__ = ("_call", "_images", "_model", "_top_k", "is_small")

    def __init__(self, call: Call, model: ServedModel, images: tuple[bytes, ...], top_k: int) -> None:
        self._call = call
        self._model = model
        self._images = images
        self._top_k = top_k
        pixels = quick_pixel_count(images[0]) if len(images) == 1 else None
        most = SMALL_IMAGE if call.service.runtime.provider == CPU else SMALL_IMAGE_FOR_A_GPU
        self.is_small = pixels is not None and pixels <= most
        """True if there is one image, and the run slot decodes it."""

    async def answer(self) -> Answer:
        """Load the model if need be, decode the images, run them, and return the answer."""
        service, model, images, context = self._call.service, self._model, self._images, self._call.context
        graph = model.graph("forward")
        if graph.state != "ready":
            await service.engine.load(model, graph, len(images), context)  # first: pixels take more room than files
        if self.is_small:
            return self._written(await service.engine.run(model, "forward", images, request=context), images)
        pixels = await service.decode_pool.pixels(images, model.bundle.input, context)
        return self._written(await service.engine.run(model, "forward", pixels, request=context), pixels)

    def deliver(self, outcome: Outcome) -> None:
        """Answer the call by callback, when the engine has run its image."""
        answer: Answer | Exception
        try:
            answer = outcome if isinstance(outcome, Exception) else self._written(outcome, self._images)
        except Exception as error:
            answer = error
        self._call.answer(answer)

    def _written(self, outputs: Mapping[str, Array], inputs: tuple[bytes, ...] | Array) -> Answer:
        """Return the answer; `inputs` are the images as they were run, encoded or decoded."""
        sampler, shadowing = self._call.service.sampler, self._call.service.shadowing
        if sampler.share:
            sampler.offer(self._model, self._images)
        if shadowing is not None:
            shadowing.offer(self._model, self._images, inputs, outputs["probabilities"])
        keep_top_labels(self._call, self._model, outputs)
        return Answer(200, [JSON], _writer(self._model).write(outputs, self._top_k, self._call.context.id))


_WRITERS: WeakKeyDictionary[ServedModel, AnswerWriter] = WeakKeyDictionary()
"""Writers of the models that are served, made on first use."""


def _writer(model: ServedModel) -> AnswerWriter:
    writer = _WRITERS.get(model)
    if writer is None:
        writer = _WRITERS[model] = AnswerWriter(model)
    return writer


class AnswerWriter:
    """Writes the answers of one model, with everything that never changes prepared."""

    def __init__(self, model: ServedModel) -> None:
        # A reference to the model would keep it alive for ever, as it is the key of `_WRITERS`.
        self._labels = model.bundle.labels
        self._independent = model.bundle.label_kind == "independent"
        self._head = to_json(identity(model, "")).removesuffix(b'"}')
        self._entries = [
            f'{{"label":{json.dumps(label, ensure_ascii=False)},"index":{index},"probability":'
            for index, label in enumerate(model.bundle.labels)
        ]

    def write(self, outputs: Mapping[str, Array], top_k: int, request_id: str) -> bytes:
        """Write the JSON answer for `probabilities` and `ranking` [n, K]."""
        ranking = outputs["ranking"][:, :top_k].tolist()
        rows = outputs["probabilities"].tolist()
        if all(map(math.isfinite, _telling(rows, every=self._independent))):
            predictions = self._predictions(rows, ranking).encode()
        else:
            predictions = to_json(self._plain_predictions(rows, ranking))
        return b'%s%s","predictions":%s}' % (self._head, request_id.encode(), predictions)

    def _predictions(self, rows: list[list[float]], ranking: list[list[int]]) -> str:
        """Write JSON by hand; nine digits are a float32 exactly. Only finite rows get here."""
        entries = self._entries
        texts = [
            '{"labels":[' + ",".join([f"{entries[c]}{row[c]:.9g}}}" for c in classes]) + "]}"
            for row, classes in zip(rows, ranking, strict=True)
        ]
        if self._independent:
            texts = [
                f'{text[:-1]},"predicted":{json.dumps(self._predicted(row), ensure_ascii=False)}}}'
                for text, row in zip(texts, rows, strict=True)
            ]
        return "[" + ",".join(texts) + "]"

    def _plain_predictions(self, rows: list[list[float]], ranking: list[list[int]]) -> list[dict[str, Any]]:
        return [
            {"labels": [{"label": self._labels[c], "index": c, "probability": row[c]} for c in classes]}
            | ({"predicted": self._predicted(row)} if self._independent else {})
            for row, classes in zip(rows, ranking, strict=True)
        ]

    def _predicted(self, row: list[float]) -> list[str]:
        """Return the independent labels whose probability is above one half, the most probable first."""
        return [self._labels[index] for index in INDEPENDENT.above_one_half(row)]


def _telling(rows: list[list[float]], *, every: bool) -> list[float]:
    """Return numbers that are finite only if all are: a softmax is finite or not as a whole row, a sigmoid alone."""
    return [value for row in rows for value in row] if every else [row[0] for row in rows]


def _selection(query_string: bytes) -> tuple[str | None, str | None, int]:
    """Return model, version and top_k by the query; short queries are cached, because clients repeat theirs."""
    if len(query_string) > LONGEST_CACHED_QUERY:
        return _parse_selection.__wrapped__(query_string)
    return _parse_selection(query_string)


@lru_cache(maxsize=256)
def _parse_selection(query_string: bytes) -> tuple[str | None, str | None, int]:
    query = read_query(query_string)
    check_names(query, NAMES)
    return single(query, "model"), single(query, "version"), read_top_k(single(query, "top_k"))
