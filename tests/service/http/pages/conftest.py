"""A real Chromium on the real service with the bundles of this repository. `PAGE_URL` names one that already runs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.service.http.pages.visit import visiting
from tests.service.live_server import PATIENCE_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.service.http.pages.visit import Visit

REPOSITORY = Path(__file__).resolve().parents[4]
expect.set_options(timeout=1000 * PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def address(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the service, with a slash at the end."""
    if "PAGE_URL" in os.environ:
        yield os.environ["PAGE_URL"].rstrip("/") + "/"
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("service") / "log"
    command = [sys.executable, "-m", "service", "--host", "127.0.0.1", "--http-port", str(port)]
    command += ["--deadline-ms", str(PATIENCE_SECONDS * 1000), "--drain-delay", "0"]
    with log.open("wb") as output, subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output) as service:
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/", service, log)
            _load_diagnostics(f"http://127.0.0.1:{port}/")
            yield f"http://127.0.0.1:{port}/"
        finally:
            service.terminate()


def _wait_until_ready(address: str, service: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if service.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}health/ready", timeout=2):
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
    pytest.fail(f"the service did not become ready:\n{log.read_text()}")


def _load_diagnostics(address: str) -> None:
    """Load the graphs for diagnostics beforehand: waiting for them is not what is tested here."""
    image = (REPOSITORY / "tests" / "photographs" / "cat.jpg").read_bytes()
    with urllib.request.urlopen(f"{address}models", timeout=PATIENCE_SECONDS) as response:
        models = [model["name"] for model in json.load(response)["models"]]
    for model in models:
        for endpoint in ("gradients", "shattering", "features"):
            _post_until_answered(f"{address}diagnostics/{endpoint}?model={model}", image)


def _post_until_answered(url: str, body: bytes) -> None:
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=PATIENCE_SECONDS):
                return
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > deadline:
                raise
            time.sleep(0.5)


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """A fresh tab at the page."""
    with visiting(browser, address, 1280, 900) as visit:
        yield visit
