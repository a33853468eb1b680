"""The bound: a bundle's graphs in one process, fed from the device's own memory.

That is a process of its own (`call_apart`), so that a GPU holds nothing of it while a service is measured.
"""

from __future__ import annotations

import time
from pathlib import Path

import onnxruntime

from bench.gpu.nets import Net, read
from bench.gpu.sessions import Fixed, opened

LONGEST_RUN = 1.0
"""Seconds of a run after which no larger batch is tried."""


def rates(bundle: str, graphs: list[str], device: str, batches: list[int], seconds: float) -> list[dict[str, float]]:
    """Return images per second of each graph of a bundle on "cuda" or "cpu", by batch size.

    Raises:
        RuntimeError: a graph is not on the device that was asked for, or runs with no batch.
    """
    net = read(Path(bundle), graphs)
    return [_rates(net, graph, device, batches, seconds) for graph in graphs]


def _rates(net: Net, graph: str, device: str, batches: list[int], seconds: float) -> dict[str, float]:
    """Run one batch after another in one thread, up to a size that takes long, or for which memory does not suffice."""
    session = opened(net.models[graph], device)
    found: dict[str, float] = {}
    failure: Exception | None = None
    for batch in batches:
        try:
            found[str(batch)] = _rate(session, net, graph, device, batch, seconds)
        except Exception as error:
            failure = error
            break
        if batch / found[str(batch)] > LONGEST_RUN:
            break
    if not found:
        raise RuntimeError(f"no batch runs: {failure}")
    return found


def _rate(
    session: onnxruntime.InferenceSession, net: Net, graph: str, device: str, batch: int, seconds: float
) -> float:
    """Return images per second, after two runs that do not count: the first of each size searches for algorithms."""
    run = Fixed(session, net.feeds(graph, batch), device)
    run()
    runs, began = 0, time.perf_counter()
    while not runs or time.perf_counter() - began < seconds:
        run()
        runs += 1
    return runs * batch / (time.perf_counter() - began)
