"""`GET /metrics`: for Prometheus, in the format that it asks for."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder

from service.http.answers.openapi import PLAIN_ERRORS

FORMATS = {kind: {"schema": {"type": "string"}} for kind in ("text/plain", "application/openmetrics-text")}

router = APIRouter(tags=["health"], responses=PLAIN_ERRORS)


@router.get("/metrics", response_class=Response, responses={200: {"content": FORMATS}})
async def metrics(request: Request) -> Response:
    """Requests, stages, runs, batch sizes, queue, models and the process itself."""
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(request.app.state.metrics), media_type=None, headers={"content-type": content_type})
