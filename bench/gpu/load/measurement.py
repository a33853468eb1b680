"""One start of the service under its loads, and what stands beside it; every figure becomes a row at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

import httpx
import numpy as np

from bench.gpu.load.bound import rates
from bench.gpu.load.generators import Generators, Heard, Window
from bench.gpu.load.host import host_parts
from bench.gpu.load.nets import ServedNet, ServedNets
from bench.gpu.load.turns import GRAPHS, Beside, Turn
from bench.gpu.load.usage import usage
from bench.gpu.part import Row, Setting, attempt
from bench.harness.apart import call_apart
from bench.harness.paths import CAT
from bench.harness.readings import get
from bench.harness.server import Server, service
from bench.serving.servers import settle

WHOLE_SECONDS = 100.0
"""The time that everything takes, for which the seconds below are meant; with less they are fewer."""
LOAD_SECONDS, LEAD_SECONDS, BOUND_SECONDS = 2.0, 0.6, 0.3
"""Seconds of one load, of the same load before it that does not count, and of each batch size of the bound."""
LATE = 0.3
"""Seconds until a generator's process has taken its order."""
START_SECONDS, SETTLING_SECONDS = 40.0, 5.0
BATCHES, SMALL_BATCHES = (1, 8, 32, 128, 256), (1, 8)


class Measurement:
    """The measurements of one part, in as many seconds as its setting grants."""

    def __init__(self, setting: Setting, nets: ServedNets, generators: Generators) -> None:
        self._setting, self._nets, self._generators = setting, nets, generators
        self._scale = 0.2 if setting.small else min(1.0, setting.seconds / WHOLE_SECONDS)

    def rows(self, item: Turn | Beside) -> Iterator[Row]:
        """Yield the rows of one item of the plan that are not there yet."""
        yield from self._beside(item) if isinstance(item, Beside) else self._turn(item)

    def _turn(self, turn: Turn) -> Iterator[Row]:
        with ExitStack() as stack:
            start = _Start(turn, self._nets, stack)
            for path, connections in turn.loads:
                load = partial(self._load, start, path, connections)
                yield from attempt(self._setting, turn.key(path, connections), load)

    def _load(self, start: _Start, path: str, connections: int) -> Row:
        """Load the service, and read meanwhile what it costs."""
        server, net = start.server(), start.net
        start.warm(path)
        begin = time.monotonic() + LATE + LEAD_SECONDS * self._scale
        window = Window(begin, begin + LOAD_SECONDS * self._scale)
        sent = self._generators.send(server.port, path, net.listing, connections, window)
        _sleep_until(window.begin)
        used = server.processor_seconds()
        _sleep_until((window.begin + window.end) / 2)
        seen = usage()
        _sleep_until(window.end)
        used = server.processor_seconds() - used
        heard = [future.result() for future in sent]
        return {
            "kind": "load",
            "net": net.name,
            "provider": start.turn.provider,
            "flags": " ".join(start.turn.flags),
            "path": path,
            "connections": connections,
            **figures(heard, window.end - window.begin, used),
            **_said(server, path),
            "device_mib": seen.memory_mib - start.idle_mib if seen else None,
            "device_busy": seen.busy_percent if seen else None,
            "ready_seconds": server.ready_seconds,
        }

    def _beside(self, beside: Beside) -> Iterator[Row]:
        yield from attempt(self._setting, f"bound {beside.net}", partial(self._bound, beside.net))
        yield from attempt(self._setting, f"host {beside.net}", partial(self._host, beside.net))

    def _bound(self, name: str) -> Row:
        graphs = list(GRAPHS.values())
        bundle = str(self._nets.net(name).bundle)
        batches = SMALL_BATCHES if self._setting.small else BATCHES
        found = call_apart(rates, bundle, graphs, self._setting.device, batches, BOUND_SECONDS * self._scale)
        by_graph = dict(zip(graphs, found, strict=True))
        return {"kind": "bound", "net": name, "device": self._setting.device, "rates": by_graph}

    def _host(self, name: str) -> Row:
        net = self._nets.net(name)
        found = call_apart(host_parts, str(net.bundle), str(net.listing), self._scale)
        return {"kind": "host", "net": name, "microseconds": found}


class _Start:
    """A service that starts when its first row is measured. If it does not start, it is not tried for each row."""

    def __init__(self, turn: Turn, nets: ServedNets, stack: ExitStack) -> None:
        self.turn, self._nets, self._stack = turn, nets, stack
        self.net: ServedNet
        self.idle_mib = 0.0
        """Memory of the card in use before the start."""
        self._started: Server | Exception | None = None
        self._warm: set[str] = set()

    def server(self) -> Server:
        """Return the running service.

        Raises:
            Exception: what kept it from starting.
        """
        if self._started is None:
            try:
                self._started = self._start()
            except Exception as error:
                self._started = error
        if isinstance(self._started, Exception):
            raise self._started
        return self._started

    def _start(self) -> Server:
        self.net = self._nets.net(self.turn.net)
        before = usage()
        self.idle_mib = before.memory_mib if before else 0.0
        flags = ("--execution-provider", self.turn.provider, *self.turn.flags)
        return self._stack.enter_context(service(self.net.folder, *flags, seconds=START_SECONDS))

    def warm(self, path: str) -> None:
        """Have the graph of `path` loaded, and wait for the search for its best batch size, once."""
        if path in self._warm:
            return
        server = self.server()
        httpx.post(f"http://127.0.0.1:{server.port}{path}", content=CAT.read_bytes(), timeout=START_SECONDS)
        settle(server, SETTLING_SECONDS)
        self._warm.add(path)


def figures(heard: Sequence[Heard], seconds: float, processor_seconds: float) -> dict[str, Any]:
    """Return what all generators heard together.

    `rate` is of right answers per second, `p50` and `p99` are in milliseconds, `host_us` are microseconds of the
    service's processor time per answer; `generator_busy` is the busiest generator's share of a core.
    """
    times = [time for one in heard for time in one.seconds]
    wrong = sum((one.wrong for one in heard), Counter[str]())
    p50, p99 = (float(value) for value in np.percentile(1e3 * np.array(times), [50, 99])) if times else (None, None)
    return {
        "rate": len(times) / seconds,
        "p50": p50,
        "p99": p99,
        "right": len(times),
        "wrong": dict(wrong),
        "host_us": 1e6 * processor_seconds / max(1, len(times) + wrong.total()),
        "generators": len(heard),
        "generator_busy": max(one.busy for one in heard),
        "late": max(one.late for one in heard),
    }


def _said(server: Server, path: str) -> dict[str, Any]:
    """Return which provider the service names, and the batch size that it found best; nothing where it is silent."""
    with suppress(httpx.HTTPError, KeyError, IndexError, ValueError):
        said = get(server.port, "/models")
        graph = said["models"][0]["graphs"][GRAPHS[path]]
        return {"answered_by": said["models"][0]["execution_provider"], "best_batch": graph.get("best_batch")}
    return {}


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
