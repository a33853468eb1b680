"""`POST /diagnostics/explain`: where the evidence for a label lies in a picture, as JSON, SVG or PNG."""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter

from service.diagnostics.explanation.overlay import as_png, as_svg, whole_picture
from service.diagnostics.schemas.explanation import Explanations
from service.errors import InvalidParameter
from service.http.answers.negotiation import prefers
from service.http.answers.openapi import names_of
from service.http.answers.responses import JSON, Answer
from service.http.calls.call import Call
from service.http.requests.submission import Submission
from service.http.routes.explanations.explaining import check_number, explained
from service.http.routes.explanations.options import EXPLAIN, read_asked
from service.http.routes.submissions import read_submission

PNG: Final = "image/png"
SVG: Final = "image/svg+xml"
MEDIA_TYPES: Final = {"svg": SVG, "png": PNG}
PICTURES: Final = {
    SVG: {"schema": {"type": "string"}},
    PNG: {"schema": {"type": "string", "format": "binary", "contentMediaType": PNG}},
}

router = APIRouter(prefix="/diagnostics", tags=["diagnostics"])


@router.post(
    "/explain",
    name="explain",
    response_model=None,
    responses={200: {"model": Explanations, "content": PICTURES, "description": "the maps, or pictures of them"}},
    openapi_extra=EXPLAIN,
)
async def explain(call: Call) -> Answer:
    """Where in each picture the evidence for one label lies; at most 16 images.

    A PNG is the whole picture with the map laid over the part that the network saw; it is of one image. A map says
    where, not why: docs/guide/explain-an-answer.md.
    """
    submission = await read_submission(call, names_of(EXPLAIN))
    check_number(len(submission.images))
    asked = read_asked(*(submission.option(name) for name in ("method", "layer", "steps")))
    form = _form(call, submission)
    model = submission.model
    pixels = await submission.pixels(model)
    found = await explained(call, model, pixels, submission.labels_for(model), asked)
    if form == "json":
        return Answer(200, [JSON, (b"vary", b"accept")], await asyncio.to_thread(_in_json, found))
    spec = model.bundle.input
    wholes = await submission.decoded(whole_picture, model)
    if form == "png":
        body = await asyncio.to_thread(as_png, found, 0, wholes[0], spec)
    else:
        body = (await asyncio.to_thread(as_svg, found, wholes, spec)).encode()
    return Answer(200, [(b"content-type", MEDIA_TYPES[form].encode()), (b"vary", b"accept")], body)


def _form(call: Call, submission: Submission) -> str:
    """Return the form of the answer: json, svg or png, as `format` says, or else as `Accept` prefers.

    A caller who accepts none of them gets JSON.

    Raises:
        InvalidParameter: another format, or a PNG of several images.
    """
    accept = ", ".join(call.headers.getlist("accept"))
    preferred = "svg" if prefers(accept, SVG, "application/json") else "json"
    if prefers(accept, PNG, "application/json") and prefers(accept, PNG, SVG):
        preferred = "png"
    form = submission.option("format", preferred)
    if form not in ("json", "svg", "png"):
        raise InvalidParameter(f"`format` is json, svg or png, not {str(form)[:40]!r}.")
    if form == "png" and len(submission.images) > 1:
        raise InvalidParameter(f"A PNG is of one image, and {len(submission.images)} came; svg and json take several.")
    return str(form)


def _in_json(found: Explanations) -> bytes:
    """Write the answer, in a thread: of sixteen pictures it has a million numbers."""
    return found.model_dump_json().encode()
