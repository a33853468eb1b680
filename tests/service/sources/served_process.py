"""A service in a process of its own, started as its users start it, and models for it to import."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx

from tests.export.importing.graphs import CLASSES, classifier
from tests.service.live_server import PATIENCE_SECONDS, wait_until

ROOT = Path(__file__).parents[3]
LABELS = ("ant", "bee", "cat", "dog")
ADDRESS = re.compile(r"address: (http://\S+)")


def constant_winner(winner: int) -> onnx.ModelProto:
    """Return a classifier that calls every picture `LABELS[winner]`."""
    bias = np.where(np.arange(CLASSES) == winner, 100, 0).astype(np.float32)
    return classifier(constants={"head.bias": bias})


def write_model(path: Path, winner: int = 0) -> Path:
    """Write the classifier in one step, as an export does not."""
    part = path.with_suffix(".part")
    onnx.save(constant_winner(winner), part)
    part.replace(path)
    return path


def import_flags(folder: Path) -> list[str]:
    labels = folder / "classes"
    labels.write_text("\n".join(LABELS))
    return ["--labels", str(labels), "--mean", "0.5", "--std", "0.25"]


class ServedProcess:
    """A running `python -m service`: a client of it, and the lines that it has written."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._process = process
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_until(lambda: self._address() or process.poll() is not None)
        self.client = httpx.Client(base_url=self._address() or "http://nowhere.invalid", timeout=PATIENCE_SECONDS)
        wait_until(lambda: process.poll() is not None or self.client.get("/health/ready").status_code == 200)

    def _read(self) -> None:
        assert self._process.stderr is not None
        self.lines.extend(iter(self._process.stderr.readline, ""))

    def _address(self) -> str | None:
        found = ADDRESS.search("".join(self.lines))
        return found[1] if found else None

    def said(self, words: str, within: float = PATIENCE_SECONDS) -> bool:
        """Return whether a line with these words comes within so many seconds: a thread of its own writes the log."""
        end = time.monotonic() + within
        while not (found := any(words in line for line in self.lines)) and time.monotonic() < end:
            time.sleep(0.01)
        return found

    def models(self) -> dict[str, Any]:
        return dict(self.client.get("/models").json())

    def digests(self) -> dict[str, str]:
        return {f"{model['name']}@{model['version']}": model["bundle"] for model in self.models()["models"]}

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        self.client.close()


def begin(cache: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CONTRAFLOW_")}
    fixed = ["--http-port", "0", "--drain-delay", "0", "--bundle-poll-seconds", "0.2", "--run-threads", "1"]
    return subprocess.Popen(
        [sys.executable, "-m", "service", *map(str, arguments), *fixed, "--warm-up", "false"],
        cwd=ROOT,
        env=environment | {"CONTRAFLOW_CACHE": str(cache)},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def served(cache: Path, *arguments: str | Path) -> Iterator[ServedProcess]:
    with begin(cache, *arguments) as process:
        try:
            running = ServedProcess(process)
            try:
                yield running
            finally:
                running.end()
        finally:
            process.kill()
