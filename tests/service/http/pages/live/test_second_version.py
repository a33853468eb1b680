"""The section about a second version: shown where there is a shadow, with what the service says of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import ViewportSize, expect

from tests.service.http.pages.conftest import Visit
from tests.service.live_server import PATIENCE_SECONDS, LiveServer, running, wait_until
from tests.service.two_versions import PHOTOGRAPHS, two_versions

pytestmark = pytest.mark.pages


@pytest.fixture(scope="module")
def server(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A service whose shadow takes cats for dogs, and dogs for cats."""
    folder: Path = two_versions(tmp_path_factory.mktemp("two"))
    settings: dict[str, Any] = {"shadow": "resnet20@2", "shadow_share": 1.0, "deadline_ms": 1000 * PATIENCE_SECONDS}
    with running(folder, warm_up=False, **settings) as server:
        yield server


@pytest.fixture(scope="module")
def address(server: LiveServer) -> str:
    return f"{server.url}/"


def told(server: LiveServer) -> Any:
    return httpx.get(f"{server.url}/diagnostics/shadow", timeout=PATIENCE_SECONDS).json()


def drawn(server: LiveServer) -> int:
    """Images of which it is known what became of them."""
    return sum(told(server)["all"][outcome] for outcome in ("compared", "dropped", "failed"))


def compare(server: LiveServer, name: str) -> None:
    """Send a photograph until it is compared: it is dropped while the page has something run."""
    before = told(server)["all"]["compared"]

    def is_compared() -> bool:
        known = drawn(server)
        httpx.post(f"{server.url}/predict", content=PHOTOGRAPHS[name], timeout=PATIENCE_SECONDS)
        wait_until(lambda: drawn(server) > known)
        return bool(told(server)["all"]["compared"] > before)

    wait_until(is_compared)


@pytest.mark.parametrize("size", [ViewportSize(width=1280, height=900), ViewportSize(width=360, height=740)])
def test_the_page_says_what_the_service_says_of_the_second_version(
    visit: Visit, server: LiveServer, size: ViewportSize
) -> None:
    for name in ("dog", "ship"):
        compare(server, name)
    visit.page.set_viewport_size(size)
    visit.page.goto(visit.address)
    section = visit.page.locator("#second-version")
    expect(section).to_be_visible()
    expect(section.get_by_role("table", name="Disagreements by label")).to_be_visible()
    expect(visit.page.locator("#verdicts [aria-busy]")).to_have_count(0)
    before = told(server)["all"]
    compare(server, "cat")
    section.get_by_role("button", name="Ask again").click()
    expect(section).not_to_contain_text(f"{before['compared']} images compared")
    found = told(server)
    expect(section.locator("[data-finding]")).to_have_text(found["because"])
    rows = section.locator("table[aria-label='Disagreements by label'] tbody tr")
    expect(rows).to_have_count(len(found["all"]["pairs"]))
    first = found["all"]["pairs"][0]
    expect(rows.first).to_contain_text(first["answered"])
    expect(rows.first).to_contain_text(first["shadow"])
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_without_a_shadow_there_is_no_such_section(visit: Visit, tmp_path: Path) -> None:
    with running(two_versions(tmp_path), loaded=True, warm_up=False) as plain:
        visit.page.goto(f"{plain.url}/")
        visit.address = f"{plain.url}/"
        visit.requested.clear()
        visit.page.wait_for_selector("#verdicts article")
        expect(visit.page.locator("#second-version")).to_be_hidden()
        assert not any("diagnostics/shadow" in url for url in visit.requested)
        expect(visit.page.locator("#verdicts [aria-busy]")).to_have_count(0)
