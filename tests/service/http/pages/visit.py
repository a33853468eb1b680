"""A tab of a real browser, and everything that goes wrong in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.service.live_server import PATIENCE_SECONDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

REDOCS_LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"
"""ReDoc's menu asks its makers' host for this; the content-security policy stops the request in the browser."""


@dataclass
class Visit:
    """A tab at `address`, what its console complained of, and every address that it asked for."""

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
    """Open a tab for a page at `address`, which ends with a slash.

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
