"""`GET /metrics`: for Prometheus, in the format that it asks for."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client.exposition import choose_encoder

from service.http.answers.responses import Answer
from service.http.calls.call import Call

FORMATS = {kind: {"schema": {"type": "string"}} for kind in ("text/plain", "application/openmetrics-text")}

router = APIRouter(tags=["health"])


@router.get("/metrics", response_model=None, response_class=Response, responses={200: {"content": FORMATS}})
async def metrics(call: Call) -> Answer:
    """Requests, stages, runs, batch sizes, queue, models and the process itself."""
    encode, content_type = choose_encoder(call.headers.get("accept", ""))
    return Answer(200, [(b"content-type", content_type.encode())], encode(call.service.metrics))
