"""A real Chromium that is not directly at the service: on a page of another origin, and behind nginx under a prefix."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from bench.harness.proxy import nginx
from bench.harness.server import free_port
from tests.programs import needs
from tests.service.http.pages.conftest import REDOCS_LOGO
from tests.service.live_server import PATIENCE_SECONDS, LiveServer, best_label, picture, running
from tests.service.tiny_bundles import write_bundle

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.pages

ROOT = Path(__file__).parents[4]
RED = picture("red")
KEY = "open sesame"

FETCH = """
async ([url, picture, key]) => {
  const body = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
  const headers = {"X-API-Key": key, "X-Request-Id": "from-a-page", "Content-Type": "image/png"};
  try {
    const answer = await fetch(url, {method: "POST", headers, body});
    return {status: answer.status, id: answer.headers.get("X-Request-Id"), body: await answer.json()};
  } catch (error) {
    return {status: 0, id: null, body: String(error)};
  }
}
"""


@contextmanager
def opened(browser: Browser, url: str) -> Iterator[Page]:
    """A tab at an address."""
    context = browser.new_context()
    context.set_default_timeout(1000 * PATIENCE_SECONDS)
    page = context.new_page()
    page.goto(url)
    yield page
    context.close()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """The port of a server with an empty page: `localhost` and `127.0.0.1` are two origins there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_page_of_an_allowed_origin_reads_answers_and_errors_and_another_reads_nothing(
    browser: Browser, elsewhere: int, tmp_path: Path
) -> None:
    write_bundle(tmp_path, "tiny")
    keys = ("sha256:" + hashlib.sha256(KEY.encode()).hexdigest(),)
    picture_64 = base64.b64encode(RED).decode()
    with running(tmp_path, api_keys=keys, cors_origins=f"http://localhost:{elsewhere}") as server:

        def fetched(page: Page, path: str, key: str) -> Any:
            return page.evaluate(FETCH, [server.url + path, picture_64, key])

        with opened(browser, f"http://localhost:{elsewhere}/") as page:
            answer = fetched(page, "/predict", KEY)
            assert (answer["status"], answer["id"]) == (200, "from-a-page")
            assert answer["body"]["predictions"][0]["labels"][0]["label"] == "red"
            for path, key, status in (("/predict", "wrong", 401), ("/nowhere", KEY, 404)):
                refused = fetched(page, path, key)
                assert (refused["status"], refused["id"], refused["body"]["status"]) == (status, "from-a-page", status)
        with opened(browser, f"http://127.0.0.1:{elsewhere}/") as page:
            assert fetched(page, "/predict", KEY) == {"status": 0, "id": None, "body": "TypeError: Failed to fetch"}


SITE = """
    upstream contraflow {{
        server unix:{path};
        keepalive 8;
    }}
    server {{
        listen 127.0.0.1:{port};
        location /vision {{
            proxy_pass http://contraflow;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
"""
"""nginx in front of a Unix socket; it leaves the prefix in the path."""


@pytest.fixture(scope="module")
def behind_nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, str]]:
    """A service at a Unix socket, and the address of nginx in front of it with the prefix."""
    folder = tmp_path_factory.mktemp("bundles")
    shutil.copytree(ROOT / "models" / "bundles" / "plain20", folder / "plain20")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="cf", dir="/tmp") as short:  # the path of a Unix socket must be short
        Path(short).chmod(0o755)  # nginx may be another user
        with (
            running(folder, uds=Path(short) / "s", root_path="/vision", trusted_proxies="unix") as server,
            nginx(port, SITE.format(port=port, path=server.host)),
        ):
            yield server, f"http://127.0.0.1:{port}/vision"


@needs("nginx")
def test_nginx_that_leaves_the_prefix_reaches_every_address_over_a_unix_socket(
    behind_nginx: tuple[LiveServer, str],
) -> None:
    server, address = behind_nginx
    with httpx.Client(base_url=address, timeout=PATIENCE_SECONDS, headers={"X-Forwarded-For": "192.0.2.9"}) as client:
        ship = (ROOT / "tests" / "photographs" / "ship.jpg").read_bytes()
        assert best_label(client.post("/predict", content=ship)) == "ship"
        assert {one.cycle.scope["client"] for one in server.connections()} == {("127.0.0.1", 0)}
        assert client.get("/v2/health/ready").status_code == 200
        assert client.options("/predict").headers["allow"] == "OPTIONS, POST"
        assert '"/predict"' in client.get("/metrics").text
        assert "/vision" not in client.get("/metrics").text
        moved = httpx.get(f"{address}?model=plain20", timeout=PATIENCE_SECONDS)
        assert (moved.status_code, moved.headers["location"]) == (307, "vision/?model=plain20")
        assert "There is nothing at /visionary" in httpx.get(f"{address}ary", timeout=PATIENCE_SECONDS).json()["detail"]


@needs("nginx")
def test_the_page_and_the_documentation_work_under_a_prefix_that_nginx_leaves(
    browser: Browser, behind_nginx: tuple[LiveServer, str]
) -> None:
    _, address = behind_nginx
    complaints: list[str] = []
    asked: list[str] = []
    with opened(browser, "about:blank") as page:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda answer: asked.append(f"{answer.status} {answer.url}"))
        page.goto(address)
        page.locator("#verdicts article[data-state]").wait_for()
        page.locator("#gradients svg").first.wait_for()
        assert page.url.startswith(f"{address}/")
        page.get_by_role("link", name="Verdicts", exact=True).click()
        page.locator("section#healthy").wait_for()
        page.get_by_role("link", name="API", exact=True).click()
        page.locator(".opblock").first.wait_for()
        page.get_by_role("link", name="Reference", exact=True).click()
        page.get_by_role("heading", name="Predict").first.wait_for()
    assert complaints == []
    taken = tuple(f"{status} {place}" for status in (200, 304) for place in (f"{address}/", "data:", "blob:"))
    others = [line for line in asked if not line.startswith(taken) and REDOCS_LOGO not in line]
    assert others == [f"307 {address}"], "ReDoc asks its makers for a drawing, which the policy stops"
