"""Takes the pictures of the README from a running service.

    python -m tests.service.http.pages.screenshots http://localhost:8000 docs/images

Writes page.webp, page-dark.webp and page-phone.webp (the page), and the plots of the SVG endpoints as they come.
"""

from __future__ import annotations

import io
import sys
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

from tests.programs import chromium

IMAGES = Path(__file__).resolve().parents[3] / "photographs"


def main(address: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = whole_page(browser, address, 1180, "light")
        save(page.screenshot(clip=rectangle(page, "header", "#gradients")), folder / "page.webp")
        save(page.locator("#shattering").screenshot(), folder / "page-shattering.webp")
        save(page.locator("#features").screenshot(), folder / "page-features.webp")
        save(page.locator("#training").screenshot(), folder / "page-training.webp")
        page = whole_page(browser, address, 1180, "dark")
        save(page.screenshot(clip=rectangle(page, "header", "#gradients")), folder / "page-dark.webp")
        page = whole_page(browser, address, 390, "light")
        save(page.screenshot(clip={"x": 0, "y": 0, "width": 390, "height": 844}), folder / "page-phone.webp")
        browser.close()
    plots(address, folder)


def whole_page(browser: Browser, address: str, width: int, colours: str) -> Page:
    """The page with everything on it drawn, at the first sample and, for shattering, a ship."""
    page = browser.new_page(viewport={"width": width, "height": 900}, device_scale_factor=1.5)
    page.set_default_timeout(120_000)
    page.emulate_media(color_scheme="dark" if colours == "dark" else "light", reduced_motion="reduce")
    page.goto(address)
    page.wait_for_selector("#gradients svg.plot")
    page.locator("#shattering [data-sample=ship]").click()
    page.wait_for_selector("#shattering canvas")
    page.locator("#features").scroll_into_view_if_needed()
    page.wait_for_selector("#features .pictures img")
    page.get_by_role("slider", name="Layer").fill("8")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.set_viewport_size({"width": width, "height": int(page.evaluate("document.documentElement.scrollHeight"))})
    page.wait_for_timeout(500)
    return page


def rectangle(page: Page, first: str, last: str) -> FloatRect:
    """The full width of the page, from the top of one element to a little below the bottom of another."""
    top, bottom = page.locator(first).first.bounding_box(), page.locator(last).bounding_box()
    assert top is not None
    assert bottom is not None
    width = float(page.evaluate("innerWidth"))
    return {"x": 0, "y": top["y"], "width": width, "height": bottom["y"] + bottom["height"] + 24 - top["y"]}


def save(png: bytes, path: Path) -> None:
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=82, method=6)
    print(f"{path}  {path.stat().st_size // 1024} KB")


def plots(address: str, folder: Path) -> None:
    """Save one plot as the service returns it."""
    url = f"{address.rstrip('/')}/diagnostics/compare?model=resnet20&model=plain20&model=plain20-sigmoid&format=svg"
    with urllib.request.urlopen(urllib.request.Request(url, data=(IMAGES / "cat.jpg").read_bytes())) as response:
        (folder / "compare.svg").write_bytes(response.read())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
