"""The documentation as a site below `/guide/`, in a real Chromium, behind a proxy that strips a path prefix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from service.http.routes.pages import guide
from tests.docs.site import built_site
from tests.service.http.pages.conftest import visiting
from tests.service.http.pages.stripping_proxy import stripping_proxy
from tests.service.live_server import LiveServer, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.pages


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A service that has the documentation as it is now, whatever was built before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guide, "SITE", built_site(tmp_path_factory.mktemp("documentation")))
        with running(tmp_path_factory.mktemp("bundles")) as server:
            yield server


def test_the_page_leads_to_the_guide_whose_search_finds_a_page(server: LiveServer, browser: Browser) -> None:
    with (
        stripping_proxy(server.host, server.port, "/vision") as address,
        visiting(browser, f"{address}/", 1280, 1000) as visit,
    ):
        page = visit.page
        page.goto(f"{address}/")
        page.get_by_role("link", name="Guide", exact=True).click()
        page.wait_for_url(f"{address}/guide/")
        page.get_by_role("link", name="Guide", exact=True).first.click()
        page.wait_for_url(f"{address}/guide/guide/quickstart.html")
        page.get_by_role("button", name="Search").first.click()
        page.keyboard.type("roll back")
        page.get_by_text(re.compile(r"^\d+ results?$")).wait_for()
        page.keyboard.press("Enter")  # the first result
        page.wait_for_url(f"{address}/guide/guide/replace-and-roll-back.html*")


def test_the_guide_is_sent_with_a_policy_that_keeps_other_hosts_out(server: LiveServer) -> None:
    with server.client() as client:
        assert client.get("/guide").headers["location"] == "guide/"
        answer = client.get("/guide/")
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert client.get("/guide/", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
        nothing = client.get("/guide/guide/no-such-page.html")
        assert nothing.status_code == 404
        assert "no page guide/no-such-page.html" in nothing.json()["detail"]
        assert client.get("/guide/%2e%2e/app.py").status_code == 404


def test_an_installation_without_the_guide_says_how_to_build_it(
    server: LiveServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(guide, "SITE", tmp_path / "nowhere")
    with server.client() as client:
        answer: httpx.Response = client.get("/guide/")
        assert answer.status_code == 404
        assert "`make docs` builds it" in answer.json()["detail"]
