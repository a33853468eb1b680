"""One start of the service, whether it serves or not: its exit status, its log, its answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench.harness.paths import CAT, ROOT
from bench.harness.server import free_port, service_command

PATIENCE, END_SECONDS, ANSWER_SECONDS = 45.0, 10.0, 60.0
PAUSE = 0.05
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""The codes that ONNX Runtime puts around its lines for a terminal."""
TIMESTAMP = re.compile(r"^\d{4}-\d\d-\d\d [\d:,.]+ ")
TELLING = re.compile(
    r"execution provider|\b(WARNING|ERROR|CRITICAL)\b|^(python -m service: )?error:|\[[EF]:onnxruntime"
)
TEMPORARY = re.compile(r"…/(tmp\w{8}/)+")
"""Folders of `tempfile`, whose names are drawn anew each time."""
LONGEST_LINE, MOST_LINES = 400, 4


class Trial:
    """A process of the service and what it has said so far."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path, seconds: float) -> None:
        self._process, self._port, self._log, self._patience = process, port, log, seconds
        self.ready = False

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the service is ready; return False where it ended, or was not ready in time."""
        end = time.monotonic() + (self._patience if seconds is None else seconds)
        while self.status is None and time.monotonic() < end:
            self.ready = self.get("/health/ready")[0] == 200
            if self.ready:
                return True
            time.sleep(PAUSE)
        return False

    def get(self, path: str) -> tuple[int, Any]:
        """Return status and body of an answer; status 0 where there is none."""
        return self._ask("GET", path)

    def post(self, path: str, body: bytes, kind: str = "application/octet-stream") -> tuple[int, Any]:
        """Return status and body of an answer; status 0 where there is none."""
        return self._ask("POST", path, content=body, headers={"content-type": kind})

    def _ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        try:
            answer = httpx.request(method, f"http://127.0.0.1:{self._port}{path}", timeout=ANSWER_SECONDS, **more)
        except httpx.HTTPError:
            return 0, {}
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, answer.text

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def lines(self) -> list[str]:
        """The lines of the log that say which provider there is, or that something is wrong."""
        found = [TIMESTAMP.sub("", COLOURS.sub("", line)) for line in self.log.splitlines()]
        return [plain(line)[:LONGEST_LINE] for line in found if TELLING.search(line)][:MOST_LINES]

    @property
    def has_traceback(self) -> bool:
        return "Traceback (most recent call last)" in self.log

    def models(self) -> tuple[str, str]:
        """Return the provider that /models names, and the reason."""
        _, said = self.get("/models")
        known = said if isinstance(said, dict) else {}
        return known.get("execution_provider", ""), plain(known.get("execution_provider_reason", ""))

    def predict(self) -> tuple[int, Any]:
        """Return the answer to one photograph."""
        return self.post("/predict", CAT.read_bytes())

    def found(self) -> str:
        """Return in words how the process does, what it has logged, and what it answers."""
        log = "; ".join(f"`{line}`" for line in self.lines)
        if self.status is not None:
            return f"exit {self.status}: {log or 'no word'}"
        provider, reason = self.models()
        state = "ready" if self.ready else f"not ready ({worded(self.get('/health/ready'))})"
        return f"{state}; /models: {provider} ({reason}); /predict: {worded(self.predict())}; log: {log or 'nothing'}"


def worded(answer: tuple[int, Any]) -> str:
    """Return an answer in words: its status, and what it says of where it ran or why it did not."""
    status, body = answer
    if status == 0:
        return "no answer"
    known = body if isinstance(body, dict) else {}
    said = [str(known[name]) for name in ("execution_provider", "type", "title", "detail") if known.get(name)]
    if not said and status != 200:
        said = [json.dumps(body)[:LONGEST_LINE]]
    return plain(" ".join([str(status), *said]))


def plain(text: str) -> str:
    """Return `text` without the folders of the machine that it was said on."""
    for folder in sorted({str(ROOT), sys.prefix, sys.base_prefix, tempfile.gettempdir()}, key=len, reverse=True):
        text = text.replace(f"{folder}/", "…/")
    text = TEMPORARY.sub("…/", text)
    return text.replace("|", "\\|").replace("`", "'")


@contextmanager
def tried(
    bundles: Path, flags: Sequence[str], environment: Mapping[str, str] | None = None, seconds: float = PATIENCE
) -> Iterator[Trial]:
    """Start the service over `bundles`, and yield it once it is ready, has ended, or `seconds` are over."""
    with tempfile.TemporaryDirectory() as folder:
        log, port = Path(folder) / "log", free_port()
        command = [*service_command(port, bundles), "--drain-delay", "0", *flags]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **(environment or {})}, stdout=output, stderr=output
            )
        trial = Trial(process, port, log, seconds)
        try:
            trial.wait()
            yield trial
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
