"""Takes the pictures of the README and of the guide from a running service.

    python -m tests.service.http.pages.screenshots http://localhost:8000 docs/images

Writes page.webp, page-dark.webp and page-phone.webp, the first screens as they open; page-gradients.webp and the other
sections; and page-advice.webp, a verdict unfolded.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.programs import chromium

MODELS = ("plain56-relu-exploding", "plain20-sigmoid", "plain20-relu", "resnet20")
TRAINED_ALIKE = ("plain20", "plain56", "resnet20", "resnet56")


def main(address: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = opened(browser, address, 1180, 900, "light")
        save(page.screenshot(), folder / "page.webp")
        look_at_everything(page)
        for section in ("gradients", "shattering", "features"):
            save(page.locator(f"#{section}").screenshot(), folder / f"page-{section}.webp")
        page.locator("#verdicts").get_by_text("What it means").first.click()
        save(page.locator("#verdicts").screenshot(), folder / "page-advice.webp")
        alike = opened(browser, address, 1180, 900, "light", TRAINED_ALIKE)
        save(alike.locator("#training").screenshot(), folder / "page-training.webp")
        save(opened(browser, address, 1180, 900, "dark").screenshot(), folder / "page-dark.webp")
        save(opened(browser, address, 390, 844, "light").screenshot(), folder / "page-phone.webp")
        browser.close()


def opened(
    browser: Browser, address: str, width: int, height: int, colours: str, models: tuple[str, ...] = MODELS
) -> Page:
    """The page as it opens on four models, with their verdicts and curves."""
    page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=1.5)
    page.set_default_timeout(120_000)
    page.emulate_media(color_scheme="dark" if colours == "dark" else "light", reduced_motion="reduce")
    page.goto(f"{address}?{urlencode([('model', name) for name in models])}")
    page.wait_for_selector("#gradients svg.plot")
    page.wait_for_timeout(500)
    return page


def look_at_everything(page: Page) -> None:
    """Choose a second photograph and a layer, and scroll to what the layers see."""
    page.locator("#shattering [data-sample=ship]").click()
    page.wait_for_selector("#shattering canvas")
    page.locator("#features-model").select_option("resnet20")
    page.locator("#features").scroll_into_view_if_needed()
    page.wait_for_selector("#features .pictures img")
    page.get_by_role("slider", name="Layer").fill("8")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.set_viewport_size({"width": 1180, "height": int(page.evaluate("document.documentElement.scrollHeight"))})
    page.wait_for_timeout(500)


def save(png: bytes, path: Path) -> None:
    Image.open(io.BytesIO(png)).convert("RGB").save(path, quality=82, method=6)
    print(f"{path}  {path.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
