"""Reads from a call the model in its path, and the images and options in its body."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from service.bundles.served_model import ServedModel
from service.http.calls.call import Call
from service.http.requests.forms import LARGE_BODY, Limits, read_form
from service.http.requests.submission import Submission, read_query


def model_in_path(call: Call) -> ServedModel:
    """Return the model that the path names, in the version that path or query name, else the highest.

    Raises:
        UnknownModel: there is none.
    """
    version = call.parameters.get("version", call.query_params.get("version"))
    model = call.service.registry.select(call.parameters["name"], version)
    call.context.model = model.full_name
    return model


async def read_submission(call: Call, options: Collection[str]) -> Submission:
    """Return the images of a call and its `options`, from whichever form of body; a large one is read in a thread.

    Raises:
        ServiceError: as `read_form` and `Submission`.
    """
    service = call.service
    content_type = call.fields.get(b"content-type", b"")
    limits = Limits(service.settings.max_images, service.settings.max_json_depth)
    if len(call.body) > LARGE_BODY:
        form = await asyncio.to_thread(read_form, call.body, content_type, options, limits)
    else:
        form = read_form(call.body, content_type, options, limits)
    query = read_query(call.scope["query_string"])
    return Submission(form, query, options, service.registry, service.decode_pool, call.context)
