"""The page and the documentation in a real Chromium, of a service that asks for keys."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.service.http.pages.conftest import REPOSITORY, visiting
from tests.service.http.pages.documentation.swagger import executed, opened
from tests.service.live_server import PATIENCE_SECONDS, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.pages

KEY = "offene Tür 🔑"
REFUSED = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"


def digest(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def bundles(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    shutil.copytree(REPOSITORY / "models" / "bundles" / "resnet20", folder / "resnet20")
    return folder


@pytest.fixture(scope="module")
def address(bundles: Path) -> Iterator[str]:
    keys: dict[str, Any] = {"api_keys": (digest(KEY), digest("open sesame")), "metrics_keys": (digest("scrape"),)}
    with running(bundles, deadline_ms=1000 * PATIENCE_SECONDS, **keys) as server:
        yield server.url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab, for which requests may be refused; every service of these tests is on this machine."""
    known = (REFUSED, REFUSED.replace("401 (Unauthorized)", "429 (Too Many Requests)"))
    with visiting(browser, "http://127.0.0.1:", 360, 740, known=known) as visit:
        yield visit.page


def entered(page: Page, key: str) -> None:
    """Type a key at the focus, and press Enter."""
    expect(page.locator("#login-key")).to_be_focused()
    page.keyboard.type(key)
    page.keyboard.press("Enter")


def test_the_page_asks_for_the_key_and_sends_it_without_leaving_it_anywhere(page: Page, address: str) -> None:
    opened_pages: list[str] = []
    page.on("framenavigated", lambda frame: opened_pages.append(frame.url))
    page.goto(f"{address}/?model=resnet20")
    expect(page.locator("#login-error")).to_be_empty()
    for wrong in ("guessed", "scrape"):
        entered(page, wrong)
        expect(page.locator("#login-error")).to_have_text("The service does not take this key.")
    expect(page.locator("#samples")).to_be_hidden()
    entered(page, KEY)
    page.locator("#gradients svg.plot").wait_for()
    expect(page.locator("#login")).to_be_hidden()
    page.locator("#shattering [data-sample=ship]").click()
    page.locator("#shattering canvas").first.wait_for()
    page.locator("#features").scroll_into_view_if_needed()
    page.locator("#features .pictures img").first.wait_for()
    assert page.locator("#verdicts .command code").first.text_content().startswith('curl -H "X-API-Key: $KEY" ')  # type: ignore[union-attr]
    assert not any(KEY in url for url in opened_pages)
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert page.evaluate("Object.values(sessionStorage)") == [KEY]

    page.reload()
    page.locator("#gradients svg.plot").wait_for()
    page.get_by_role("button", name="Forget key").click()
    expect(page.locator("#login-key")).to_be_focused()
    assert page.evaluate("sessionStorage.length") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_page_says_that_a_key_has_used_up_its_rate(page: Page, bundles: Path) -> None:
    with running(bundles, api_keys=(digest(KEY),), requests_per_second=0.01) as server:
        page.goto(f"{server.url}/")
        entered(page, KEY)
        said = page.locator("#photograph-error .problem")
        expect(said).to_contain_text("This key has used up its rate. The key may send 0.01 requests per second.")
        expect(said).to_contain_text("Try again in")
        expect(page.get_by_role("button", name="Forget key")).to_be_visible()


def with_predict_alone(route: Route) -> None:
    """Pass on the service's document without what has nothing to do with keys, which takes seconds to draw."""
    answer = route.fetch()
    document = answer.json()
    predict = document["paths"]["/predict"]["post"]
    document["paths"] = {"/predict": {"post": {**predict, "responses": {"200": {"description": ""}}}}}
    document["info"]["description"] = ""
    document["components"]["schemas"] = {}
    route.fulfill(response=answer, json=document)


def test_a_key_is_entered_in_the_documentation_and_sent(page: Page, address: str) -> None:
    page.route("**/openapi.json", with_predict_alone)
    page.goto(f"{address}/docs")
    predict = opened(page, "predict")
    headers = {"bearer": {"authorization": "Bearer open sesame"}, "api_key": {"x-api-key": "open sesame"}}
    for scheme, header in headers.items():
        page.locator(".auth-wrapper .authorize").click()
        box = page.locator(".auth-container", has=page.locator(f"code:text-is('{scheme}')"))
        box.locator("input").fill("open sesame")
        box.locator(".authorize").click()
        page.locator(".modal-ux .btn-done").first.click()
        with page.expect_request("**/predict") as request:
            assert executed(predict)[0] == "200"
        sent = request.value.all_headers()
        assert {name: sent[name] for name in ("authorization", "x-api-key") if name in sent} == header

        page.locator(".auth-wrapper .authorize").click()
        box.get_by_role("button", name="Remove authorization").click()
        page.locator(".modal-ux .btn-done").first.click()
        predict.locator(".btn-clear").click()


def test_the_reference_says_which_headers_take_the_key(page: Page, address: str) -> None:
    page.goto(f"{address}/redoc")
    for name in ("bearer", "api_key"):
        page.get_by_text(name, exact=True).first.wait_for(state="attached")
