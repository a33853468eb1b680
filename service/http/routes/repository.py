"""`/v2/repository/…`: the models that there are, and those that are loaded and unloaded by name.

Any caller with a key may load and unload: a name of a bundle that lies there is all that a request can say.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

from fastapi import APIRouter
from starlette.responses import Response

from service.engine.waiting import Waiting
from service.errors import MalformedRequest
from service.http.answers.responses import Answer, json_answer
from service.http.calls.call import Call
from service.http.open_inference import schemas
from service.http.open_inference.requests import check_load, check_unload, wants_only_ready
from service.settings.reading import names_of_setting

router = APIRouter(prefix="/v2/repository", tags=["open inference protocol"])
by_name = APIRouter(prefix="/v2/repository/models/{name}", tags=["open inference protocol"])
"""Operations that are always refused, and so documented nowhere, unless models are loaded by name."""


@router.post("/index", response_model=list[schemas.RepositoryEntry], openapi_extra=schemas.INDEX)
async def repository_index(call: Call) -> Answer:
    """Every version that is served, and every bundle that is not, with the reason; with `ready` only what is ready.

    Where models are loaded by name, those that may be loaded are there too.
    """
    only_ready, loader = wants_only_ready(call.body), call.service.loader
    # Where models are loaded by name the index looks at the folder.
    entries = await asyncio.to_thread(loader.index) if call.service.registry.is_explicit else loader.index()
    return json_answer([entry._asdict() for entry in entries if entry.state == "READY" or not only_ready])


@by_name.post("/load", response_class=Response, responses=schemas.DONE, openapi_extra=schemas.LOAD)
async def load_model(call: Call) -> Answer:
    """Serve all versions of a model as they are in the folder now; versions that have changed are replaced.

    The answer comes when they predict. A load that fails changes nothing that is served. One that takes longer than
    the deadline goes on all the same.
    """
    _require_explicit(call, "load")
    check_load(call.body)
    return await _done(call, call.service.loader.load(call.parameters["name"]))


@by_name.post("/unload", response_class=Response, responses=schemas.DONE, openapi_extra=schemas.UNLOAD)
async def unload_model(call: Call) -> Answer:
    """Retire a model in all its versions. Requests in flight are answered. A model that is not served is no error."""
    _require_explicit(call, "unload")
    check_unload(call.body)
    return await _done(call, call.service.loader.unload(call.parameters["name"]))


def _require_explicit(call: Call, action: str) -> None:
    """Raise `MalformedRequest` where the folder of bundles is followed: the next look would undo what is asked for."""
    if not call.service.registry.is_explicit:
        change = "add the bundle to the folder" if action == "load" else "remove the bundle from the folder"
        setting = names_of_setting("model_control")
        raise MalformedRequest(
            f"Cannot {action} {call.parameters['name'][:64]}: models are served as they are in the folder. "
            f"Start the service with {setting} explicit, or {change}."
        )


async def _done(call: Call, future: Future[None]) -> Answer:
    await Waiting(asyncio.wrap_future(future)).until_done(call.context)
    return Answer(200, [], b"")
