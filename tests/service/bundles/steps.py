"""Steps that the tests of bundles share."""

from __future__ import annotations

import httpx

from tests.service.live_server import LiveServer, picture

RED = picture("red")


def look(server: LiveServer) -> None:
    server.state.loader.refresh()


def predict(client: httpx.Client, model: str | None = None) -> httpx.Response:
    return client.post("/predict", params={"model": model} if model else {}, content=RED)


def metric(client: httpx.Client, name: str) -> float:
    return next(float(line.split()[1]) for line in client.get("/metrics").text.splitlines() if line.startswith(name))
