"""The report of `python -m service diagnose` in a browser: on a narrow screen, in the dark, and on paper."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from service.offline import diagnose

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[4]
LEAST_CONTRAST = 4.5
"""WCAG 2.2, level AA, for text of ordinary size."""

CONTRASTS = """() => {
  const parsed = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const linear = (x) => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const found = [];
  for (const element of document.querySelectorAll("main, main *:not(svg *)")) {
    if (![...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim())) continue;
    const behind = [];
    for (let one = element; one; one = one.parentElement) behind.unshift(parsed(getComputedStyle(one).backgroundColor));
    const over = (below, [r, g, b, a]) => below.map((c, i) => c * (1 - a) + [r, g, b][i] * a);
    const paper = behind.reduce(over, [255, 255, 255]);
    const [dark, light] = [luminance(paper), luminance(parsed(getComputedStyle(element).color))].sort((a, b) => a - b);
    found.push([(light + 0.05) / (dark + 0.05), element.textContent.slice(0, 40)]);
  }
  return found;
}"""
"""Every element with text of its own, and the contrast to what lies behind it."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all its sections, on two photographs with their own label and one with another's."""
    data = tmp_path_factory.mktemp("report") / "data"
    for label, name in (("cat", "cat"), ("dog", "dog"), ("ship", "truck")):
        (data / label).mkdir(parents=True)
        shutil.copy(ROOT / "tests" / "photographs" / f"{name}.jpg", data / label)
    out = data.parent / "report.html"
    bundle = ROOT / "models" / "bundles" / "resnet20"
    assert diagnose.main(["--bundle", str(bundle), "--data", str(data), "--out", str(out)]) == 0
    return out


@pytest.fixture(params=[("light", 390), ("dark", 1200)], ids=["light on a phone", "dark on a desk"])
def page(browser: Browser, report: Path, request: pytest.FixtureRequest) -> Iterator[Page]:
    scheme: Literal["light", "dark"] = request.param[0]
    context = browser.new_context(viewport={"width": request.param[1], "height": 800}, color_scheme=scheme)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda one: None if one.url.startswith("data:") else asked.append(one.url))
    page.goto(report.as_uri())
    yield page
    context.close()
    assert asked == [report.as_uri()]


def test_a_report_fits_the_screen_and_can_be_read(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 100
    assert [words for contrast, words in contrasts if contrast < LEAST_CONTRAST] == []
    assert page.locator(".answer").nth(1).bounding_box()["y"] < 800  # type: ignore[index]  # the verdict


def test_a_report_is_read_by_keyboard_and_printed_black_on_white(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    matrix = page.get_by_role("region", name="Confusion matrix")
    matrix.focus()
    assert page.evaluate("document.activeElement.querySelector('caption') !== null")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    assert page.locator(".gallery li").first.evaluate("item => getComputedStyle(item).breakInside") == "avoid"
