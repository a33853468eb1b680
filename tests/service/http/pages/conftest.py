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
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.service.live_server import PATIENCE_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REPOSITORY = Path(__file__).resolve().parents[4]
REDOCS_LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"
"""ReDoc's menu asks its makers' host for this; the content-security policy stops the request in the browser."""
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


@dataclass
class Visit:
    """A tab, what its console complained of, and every URL that it asked for; `address` begins those of the service."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)

    @property
    def strangers(self) -> list[str]:
        """Addresses elsewhere that were asked for."""
        own = (self.address, "data:", "blob:")  # a page makes blobs itself
        return [url for url in self.requested if not url.startswith(own) and url != REDOCS_LOGO]


@contextmanager
def visiting(
    browser: Browser, address: str, width: int, height: int, *, known: tuple[str, ...] = ()
) -> Iterator[Visit]:
    """Open a tab; `address` is the beginning of every URL that it may ask for.

    The test fails if the console complains of anything but what is `known`, or if another host is asked.
    """
    context = browser.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(1000 * PATIENCE_SECONDS)
    visit = Visit(context.new_page(), address)
    visit.page.on("console", lambda message: visit.complaints.append(message.text) if message.type == "error" else None)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on("request", lambda request: visit.requested.append(request.url))
    yield visit
    context.close()  # what the browser still had to say is in `complaints` after this
    complaints = [text for text in visit.complaints if text not in known and REDOCS_LOGO not in text]
    assert not complaints, complaints
    assert not visit.strangers, visit.strangers


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """A fresh tab at the page."""
    with visiting(browser, address, 1280, 900) as visit:
        yield visit
