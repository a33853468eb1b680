"""Why a label: the evidence for it on the page, beside that for another one."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from export.importing.command import import_bundle
from tests.export.importing.graphs import classifier, options, saved
from tests.service.http.pages.conftest import Visit
from tests.service.imported_bundles import LABELS, write_independent
from tests.service.live_server import PATIENCE_SECONDS, running

pytestmark = pytest.mark.pages

PHONE = ViewportSize(width=360, height=740)
DESKTOP = ViewportSize(width=1280, height=900)


@pytest.fixture(scope="module")
def address(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with two bundles that are imported here."""
    folder = tmp_path_factory.mktemp("why")
    write_independent(folder / "bundles", "several")
    import_bundle(saved(classifier(), folder), "one", options(), folder / "bundles")
    with running(folder / "bundles", default_model="one", deadline_ms=1000 * PATIENCE_SECONDS) as server:
        yield f"{server.url}/"


def ask_why(visit: Visit, model: str = "one") -> tuple[Page, list[str]]:
    """Open the page on a model, and ask why it gives its first label; return the labels in its order."""
    page = visit.page
    page.goto(f"{visit.address}?model={model}")
    page.wait_for_selector("#gradients svg.plot")
    expect(page.locator("#why")).to_be_hidden()
    page.locator("#verdicts").get_by_text("Labels", exact=True).click()
    ranked = page.locator("#verdicts .rank span:first-child").all_text_contents()
    page.locator("#verdicts .why").first.click()
    expect(page.locator("#why figure")).to_have_count(3)
    expect(page.locator("#why")).not_to_have_attribute("aria-busy", "true")
    return page, [label.removesuffix(" ✓") for label in ranked]


def asked_for(visit: Visit) -> list[dict[str, list[str]]]:
    """Return the queries of all explanations so far."""
    return [parse_qs(urlsplit(url).query) for url in visit.requested if "/diagnostics/explain" in url]


def captions(page: Page) -> list[str]:
    return page.locator("#why figcaption").all_text_contents()


def shows_pictures(page: Page) -> bool:
    pictures = page.locator("#why figure img:visible").all()
    return bool(pictures) and all(
        picture.evaluate("one => one.complete && one.naturalWidth > 0") for picture in pictures
    )


def test_nothing_is_asked_before_the_visitor_asks_why(visit: Visit) -> None:
    visit.page.goto(f"{visit.address}?model=one")
    visit.page.wait_for_selector("#gradients svg.plot")
    assert asked_for(visit) == []


@pytest.mark.parametrize("model", ["one", "several"])
def test_a_label_is_shown_beside_the_next_one(visit: Visit, model: str) -> None:
    page, ranked = ask_why(visit, model)
    assert [caption.rpartition(",")[0] for caption in captions(page)[1:]] == ranked[:2]
    assert {query["label"][0].isdecimal() for query in asked_for(visit)} == {True}, "two labels may have one name"
    assert shows_pictures(page)
    assert page.evaluate("() => document.activeElement.id") == "why-title"
    for label in ranked[:2]:
        expect(page.get_by_role("img", name=f"The evidence for {label}, laid over the photograph")).to_have_count(1)


def test_an_independent_label_with_a_comma_is_one_label(visit: Visit) -> None:
    page, _ = ask_why(visit, "several")
    page.select_option("#why-label", LABELS[3])
    expect(page.locator("#why figcaption").nth(1)).to_contain_text(LABELS[3])


def test_the_method_is_chosen_with_the_keyboard_and_keeps_the_focus(visit: Visit) -> None:
    page, ranked = ask_why(visit)
    page.locator("#why-method").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#why .evidence-key").first).to_contain_text(f"against {ranked[0]}")
    expect(page.locator("#why figure").nth(1)).to_contain_text("All evidence adds up to")
    expect(page.locator("#why-layer")).to_have_count(0)
    assert page.evaluate("() => document.activeElement.id") == "why-method"
    assert asked_for(visit)[-1]["method"] == ["integrated_gradients"]


def test_the_last_layer_with_a_map_is_named(visit: Visit) -> None:
    page, _ = ask_why(visit)
    name = page.locator("#why-layer option").first.inner_text().removesuffix(", the last")
    expect(page.locator("#why figure").nth(1)).to_contain_text(f"At {name}, ")


def test_one_label_alone_is_shown_where_nothing_stands_beside_it(visit: Visit) -> None:
    page, ranked = ask_why(visit)
    page.select_option("#why-beside", "")
    expect(page.locator("#why figure")).to_have_count(2)
    assert [caption.rpartition(",")[0] for caption in captions(page)[1:]] == ranked[:1]


def test_a_label_never_stands_beside_itself(visit: Visit) -> None:
    page, ranked = ask_why(visit)
    page.select_option("#why-label", ranked[1])
    expect(page.locator("#why figure")).to_have_count(2)
    expect(page.locator("#why-beside")).to_have_value("")
    assert [caption.rpartition(",")[0] for caption in captions(page)[1:]] == ranked[1:2]


def test_another_photograph_is_explained_too(visit: Visit) -> None:
    page, _ = ask_why(visit)
    before = page.locator("#why figure img").nth(1).get_attribute("src")
    page.locator("#samples button").nth(2).click()
    expect(page.locator("#why figure img").nth(1)).not_to_have_attribute("src", before or "")
    assert shows_pictures(page)


def test_the_section_goes_with_its_model(visit: Visit) -> None:
    page, _ = ask_why(visit)
    page.locator('#models input[value="several"]').check()
    page.locator('#models input[value="one"]').uncheck()
    expect(page.locator("#why")).to_be_hidden()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_both_maps_stand_side_by_side(visit: Visit, size: ViewportSize) -> None:
    visit.page.set_viewport_size(size)
    page, _ = ask_why(visit)
    boxes = [page.locator("#why figure img").nth(at).bounding_box() for at in (1, 2)]
    assert boxes[0]
    assert boxes[1]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert abs(boxes[0]["y"] - boxes[1]["y"]) < 40
    assert page.evaluate("() => document.documentElement.scrollWidth") <= size["width"]
