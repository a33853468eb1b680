"""HTTP alone: the same uvicorn, event loop and parser as our service, with every answer looked up and no model run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import uvicorn

ANSWERS = {
    Path(file).read_bytes(): json.dumps({"label": label}).encode()
    for file, label in json.loads(Path(os.environ["BENCH_IMAGES"]).read_text())
}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer a POST of a photograph that is known."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer = ANSWERS[body]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(
        app, port=int(os.environ["BENCH_PORT"]), loop="uvloop", http="httptools", lifespan="off", log_level="warning"
    )
