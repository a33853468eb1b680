"""A real Chromium.

Skipped, loudly, where there is none, unless `CI` is true: then it is a failure. `CHROMIUM` names the browser.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.programs import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, without a window.

    It lives no longer than a module, because Playwright keeps an event loop running in which the `asyncio.run` of other
    tests fails.
    """
    executable = chromium()
    if executable is None:
        reason = "NO CHROMIUM: the page was not tested. Install one (apt-get install chromium) or name it in CHROMIUM."
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()
