"""`/docs`, `/redoc` and the page in a real Chromium, behind a proxy that strips a path prefix.

Every operation is tried by "Try it out" and "Execute", with what the form has by itself.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import pytest

from service.diagnostics.verdicts.explanations import GUIDE, SECTIONS
from tests.service.http.pages.conftest import visiting
from tests.service.http.pages.documentation.swagger import documented_success, executed, folded, opened, operations
from tests.service.http.pages.stripping_proxy import stripping_proxy
from tests.service.live_server import PATIENCE_SECONDS, LiveServer, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.pages

REPOSITORY = Path(__file__).resolve().parents[5]
PICTURE = REPOSITORY / "tests" / "photographs" / "ship.jpg"
BACK = "Contraflow: the page"


@pytest.fixture(scope="module")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("bundles")
    for name in ("plain20", "resnet20"):
        shutil.copytree(REPOSITORY / "models" / "bundles" / name, folder / name)
    with running(folder, deadline_ms=1000 * PATIENCE_SECONDS) as server:
        yield server


@pytest.fixture(scope="module")
def address(server: LiveServer) -> Iterator[str]:
    """The address of the service behind the proxy, with a slash at the end."""
    with stripping_proxy(server.host, server.port, "/vision") as address:
        yield address + "/"


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A tab; the test fails if anything outside the prefix is asked for."""
    with visiting(browser, address, 1280, 1000) as visit:
        yield visit.page


def test_every_operation_works_as_the_documentation_offers_it(page: Page, address: str) -> None:
    page.goto(f"{address}docs")
    page.locator(".opblock").first.wait_for()
    assert page.get_by_role("link", name=BACK).evaluate("link => link.href") == address
    every = operations(address)
    assert page.locator(".opblock").count() == len(every)
    found = {}
    for name, operation in every.items():
        status, url = executed(opened(page, name))
        assert url.startswith(address), "the prefix is kept"
        found[name] = status, documented_success(operation)
        folded(page, name)
    assert {name: pair for name, pair in found.items() if pair[0] != pair[1]} == {}


@pytest.mark.parametrize("operation", ["predict", "gradients", "infer"])
def test_a_file_is_sent_as_the_raw_body(page: Page, address: str, operation: str) -> None:
    page.goto(f"{address}docs")
    block = opened(page, operation)
    block.locator(".opblock-section-request-body select.content-type").select_option("application/octet-stream")
    block.locator(".opblock-section-request-body input[type=file]").set_input_files(PICTURE)
    if operation == "infer":
        block.locator("tr[data-param-name='Inference-Header-Content-Length'] input").fill("0")
    assert executed(block)[0] == "200"


def test_files_are_sent_as_parts(page: Page, address: str) -> None:
    page.goto(f"{address}docs")
    block = opened(page, "predict")
    block.locator(".opblock-section-request-body select.content-type").select_option("multipart/form-data")
    body = block.locator(".opblock-section-request-body")
    images = body.locator("tr[data-property-name='images']")
    images.locator(".json-schema-form-item-add").click()
    assert images.locator("input[type=file]").count() == 2, "one is there already, since one is needed"
    for field in images.locator("input[type=file]").all():
        field.set_input_files(PICTURE)
    assert executed(block)[0] == "200"
    answer = block.locator(".live-responses-table tbody .response-col_description").first.inner_text()
    assert answer.count('"index": 8') == 2


def test_the_reference_names_every_operation_and_this_server(page: Page, address: str) -> None:
    page.goto(f"{address}redoc")
    page.get_by_role("heading", name="Predict").first.wait_for()
    assert page.get_by_role("link", name=BACK).evaluate("link => link.href") == address
    for operation in operations(address).values():
        assert page.locator(
            f"[id='tag/{operation['tags'][0].replace(' ', '-')}/operation/{operation['operationId']}']"
        ).count()
    path = page.locator("button", has_text="/predict").first
    path.click()
    shown = path.locator("..").get_by_text(re.compile("^http")).last
    shown.wait_for()
    assert urljoin(shown.inner_text(), ".") == address, "whatever dots it shows"


def test_the_guide_has_every_verdict_and_leads_back(page: Page, address: str) -> None:
    """It is drawn with the page's style, also under the prefix, and a link of an answer leads into it."""
    for anchor in SECTIONS:
        page.goto(f"{address}{GUIDE}#{anchor}")
        assert page.locator(f"section#{anchor}").evaluate("section => section.matches(':target')")
    assert page.locator("h1").evaluate("title => getComputedStyle(title).letterSpacing") != "normal"
    assert page.locator("script").count() == 0
    for name, path in {"API": "docs", "Page": ""}.items():
        link = page.get_by_role("link", name=name, exact=True)
        assert link.evaluate("link => link.href") == address + path


def test_the_page_answers_under_the_prefix(page: Page, address: str) -> None:
    """The page begins with a sample."""
    page.goto(address)
    page.locator("#verdicts article").nth(1).wait_for()
    page.locator("#gradients svg").first.wait_for()
