"""The page with models that we ship none of: independent labels, int8, a thousand classes, one layer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import numpy as np
import pytest
from onnx import ModelProto
from playwright.sync_api import Page, ViewportSize, expect

from export.importing.command import import_bundle
from tests.export.importing.graphs import classifier, node, options, saved
from tests.service.http.pages.conftest import Visit
from tests.service.http.pages.documentation.swagger import executed, folded, opened, operations
from tests.service.imported_bundles import LABELS, write_independent, write_int8
from tests.service.live_server import PATIENCE_SECONDS, running

pytestmark = pytest.mark.pages

THOUSAND = tuple(f"thing {number}" for number in range(1000))
PHONE = ViewportSize(width=360, height=740)
PREDICTED = "the predicted class"


def wide() -> ModelProto:
    """A thousand classes."""
    draw = np.random.default_rng(2).standard_normal
    head = {"head.weight": draw((1000, 5), dtype=np.float32), "head.bias": draw(1000, dtype=np.float32)}
    return classifier(constants=head)


def linear() -> ModelProto:
    """One layer, on the pixels themselves: nothing in it is a picture."""
    pixels = np.random.default_rng(3).standard_normal((4, 3 * 6 * 6), dtype=np.float32)
    nodes = [node("Flatten", ["image"], ["flat"]), node("Gemm", ["flat", "pixels", "head.bias"], ["scores"], transB=1)]
    return classifier(nodes, constants={"pixels": pixels})


@pytest.fixture(scope="module")
def address(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with bundles that are imported here."""
    folder = tmp_path_factory.mktemp("others")
    write_independent(folder / "bundles", "several")
    write_independent(folder / "bundles", "sharper", 3)
    write_int8(folder / "bundles", "int8")
    files: dict[str, tuple[ModelProto, dict[str, Any]]] = {
        "numbers": (classifier(), {"labels": None}),
        "thousand": (wide(), {"labels": THOUSAND}),
        "linear": (linear(), {}),
        "named": (classifier(), {}),
    }
    for name, (model, changes) in files.items():
        import_bundle(saved(model, folder), name, options(**changes), folder / "bundles")
    with running(folder / "bundles", default_model="several", deadline_ms=1000 * PATIENCE_SECONDS) as server:
        yield f"{server.url}/"


def show(visit: Visit, *names: str) -> Page:
    """Open the page on these models, with everything on it drawn."""
    page = visit.page
    page.goto(f"{visit.address}?{urlencode([('model', name) for name in names])}")
    page.wait_for_selector("#gradients svg.plot")
    settled(page)
    expect(page.locator("#verdicts article")).to_have_count(len(names))
    return page


def show_several(visit: Visit, *labels: str) -> Page:
    """Open the page on the model of independent labels, with these checked."""
    page = show(visit, "several")
    for label in labels:
        page.get_by_label(label, exact=True).check()
    settled(page)
    return page


def settled(page: Page) -> None:
    expect(page.locator("#progress")).to_be_hidden()
    expect(page.locator("[aria-busy]")).to_have_count(0)


def look_at_everything(page: Page) -> None:
    page.locator("#shattering [data-sample=ship]").click()
    page.wait_for_selector("#shattering canvas")
    look_at_features(page)


def look_at_features(page: Page) -> None:
    page.locator("#features").scroll_into_view_if_needed()
    page.wait_for_selector("#features .looked-at img")
    settled(page)


def finding(page: Page, section: str) -> str:
    return page.locator(f"#{section} [data-finding]").inner_text()


def labels_asked_for(url: str) -> list[str]:
    return parse_qs(urlsplit(url).query).get("label", [])


def test_independent_labels_above_one_half_are_named_and_ticked(visit: Visit) -> None:
    page = show(visit, "several")
    ranks = page.locator("#verdicts .rank").all()
    shown = [rank.locator("span").all_text_contents() for rank in ranks]
    above = [name.removesuffix(" ✓") for name, share in shown if float(share.strip("<> %")) > 50]
    assert [name.removesuffix(" ✓") for name, _ in shown if name.endswith("✓")] == above
    seen = page.locator("#verdicts .facts b").inner_text()
    assert all(name in seen for name in above)
    assert not any(name in seen for name in LABELS if name not in above)


@pytest.mark.parametrize("chosen", [["ant"], ["cat & mouse", "big, red dog"], ["ant", "bee", "cat & mouse"]])
def test_any_number_of_independent_labels_is_chosen(visit: Visit, chosen: list[str]) -> None:
    page = show(visit, "several", "sharper")
    for name in chosen:
        with page.expect_response("**/diagnostics/gradients*") as answered:
            page.get_by_label(name, exact=True).check()
        settled(page)
    assert labels_asked_for(answered.value.request.url) == [name for name in LABELS if name in chosen]
    assert answered.value.json()["samples"][0]["labels"] == [name for name in LABELS if name in chosen]
    with page.expect_response("**/diagnostics/shattering*") as walked:
        page.locator("#shattering [data-sample=ship]").click()
    assert walked.value.json()["labels"] == [name for name in LABELS if name in chosen]
    look_at_features(page)
    looked = [url for url in visit.requested if "/diagnostics/features" in url]
    assert labels_asked_for(looked[-1]) == [name for name in LABELS if name in chosen]


def test_a_choice_keeps_the_focus_when_it_changes(visit: Visit) -> None:
    """A choice that is asked for again does not take the control from under the keyboard."""
    page = show(visit, "several", "sharper")
    page.get_by_label("bee", exact=True).focus()
    page.keyboard.press("Space")
    settled(page)
    expect(page.get_by_label("bee", exact=True)).to_be_checked()
    expect(page.get_by_label("bee", exact=True)).to_be_focused()
    look_at_features(page)
    choice = page.locator("#features-model")
    choice.select_option("sharper")
    choice.focus()
    page.keyboard.press("ArrowUp")
    settled(page)
    expect(choice).to_have_value("several")
    expect(choice).to_be_focused()


def test_without_a_choice_the_labels_above_one_half_count(visit: Visit) -> None:
    page = show(visit, "several")
    expect(page.locator("#label-choice legend")).to_contain_text("for the labels above one half")
    box = page.get_by_label("bee", exact=True)
    box.check()
    settled(page)
    with page.expect_request("**/diagnostics/gradients*") as asked:
        box.uncheck()
    assert labels_asked_for(asked.value.url) == []
    settled(page)


def test_only_labels_that_every_model_shown_has_are_offered(visit: Visit) -> None:
    page = show_several(visit, "ant", "bee")
    page.locator('#models input[value="named"]').check()
    choice = page.locator("#label-choice select")
    assert choice.locator("option").all_inner_texts() == ["what each model predicts", "ant", "bee"]
    expect(choice).to_have_value("ant")
    settled(page)
    page.locator('#models input[value="several"]').uncheck()
    expect(choice.locator("option").first).to_have_text(PREDICTED)
    settled(page)
    page.locator('#models input[value="thousand"]').check()
    expect(page.locator("#label-choice")).to_contain_text("have no label in common")
    settled(page)


def test_a_copied_command_asks_for_the_same_labels(visit: Visit) -> None:
    page = show_several(visit, "cat & mouse", "big, red dog")
    command = page.locator("#gradients code").first.text_content() or ""
    found = re.search(r"http://[^\s']+", command)
    assert found is not None
    assert labels_asked_for(found[0]) == ["cat & mouse", "big, red dog"]


def test_the_documentation_s_own_examples_work_with_independent_labels(visit: Visit) -> None:
    visit.page.goto(f"{visit.address}docs")
    for operation in ("predict", "gradients", "compare", "shattering", "scores", "features", "infer"):
        status, _ = executed(opened(visit.page, operation))
        assert status == "200", operation
        folded(visit.page, operation)


def test_the_documentation_asks_for_any_number_of_independent_labels(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.address}docs")
    block = opened(page, "gradients")
    row = block.locator("tr[data-param-name='label']")
    assert "where labels are independent all that apply, with commas between" in row.inner_text()
    row.locator("input").fill("bee, cat & mouse")
    with page.expect_response("**/diagnostics/gradients*") as answered:
        assert executed(block)[0] == "200"
    assert answered.value.json()["samples"][0]["labels"] == ["bee", "cat & mouse"]


def test_the_documentation_of_a_body_says_how_a_set_of_labels_is_written(visit: Visit) -> None:
    """Send `labels` in the forms that it names: a list for one image, a text with commas for the other."""
    described = operations(visit.address)["gradients"]["requestBody"]["content"]
    labels = described["application/json"]["schema"]["properties"]["labels"]
    assert "where labels are independent, an entry holds all that apply" in labels["description"]
    assert {"string", "integer", "array"} == {one["type"] for one in labels["items"]["anyOf"]}
    (picture,) = described["application/json"]["example"]["images"]
    body = {"images": [picture, picture], "labels": [["bee", 3], "ant, bee"]}
    answer = httpx.post(f"{visit.address}diagnostics/gradients", json=body, timeout=PATIENCE_SECONDS)
    assert [sample["indices"] for sample in answer.json()["samples"]] == [[1, 3], [0, 1]]


def test_the_axis_of_layers_has_whole_numbers_each_once(visit: Visit) -> None:
    page = show(visit, "several")
    expect(page.locator("#gradients svg.plot [data-mark='x-axis tick label'] text")).to_have_text(["1", "2"])


def test_every_answer_of_an_int8_model_says_which_network_it_is_of(visit: Visit) -> None:
    page = show(visit, "int8")
    look_at_everything(page)
    expect(page.locator("#verdicts .ranks + p")).to_have_text(re.compile("Computed by the file's own int8 graph"))
    of_network = "Computed by the float network that the int8 file stands for"
    for section in ("verdicts", "shattering", "features"):
        expect(page.locator(f"#{section}")).to_contain_text(of_network)
    page = show(visit, "named")
    settled(page)
    expect(page.locator("main")).not_to_contain_text("int8 file")


def test_classes_without_names_are_called_by_number(visit: Visit) -> None:
    page = show(visit, "numbers")
    assert re.match(r"class [0-3], ", page.locator("#verdicts .facts b").inner_text())
    with page.expect_response("**/diagnostics/gradients*") as answered:
        page.get_by_label("Gradient of the loss for").select_option("2")
    assert answered.value.json()["samples"][0]["index"] == 2
    settled(page)


def test_a_thousand_classes_are_ranked_and_searched(visit: Visit) -> None:
    page = show(visit, "thousand")
    assert 1 < page.locator("#verdicts .rank").count() <= 10
    field = page.get_by_label("Gradient of the loss for one of 1,000 labels")
    field.fill("thing 99x")
    field.press("Enter")
    expect(page.locator("#label-refusal")).to_have_text("No label is called “thing 99x”.")
    field.fill("ng 99")
    field.press("Enter")
    expect(page.locator("#label-refusal")).to_contain_text("There is “thing 99”, “thing 990”, “thing 991”.")
    with page.expect_response("**/diagnostics/gradients*") as answered:
        field.fill("Thing 999")
        field.press("Enter")
    assert answered.value.json()["samples"][0]["index"] == 999
    settled(page)


def test_a_network_without_maps_is_said_to_have_none(visit: Visit) -> None:
    page = show(visit, "linear")
    look_at_everything(page)
    assert finding(page, "features").startswith("No layer of linear has maps")
    expect(page.locator("#models label").filter(has_text="linear")).to_contain_text(re.compile("1 layer$"))


def test_models_without_statistics_claim_none(visit: Visit) -> None:
    page = show(visit, "named")
    look_at_everything(page)
    text = page.locator("main").inner_text()
    assert "training images" not in text
    assert not re.search(r"undefined|NaN|\[object|null", text)
    expect(page.locator("#training")).to_be_hidden()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(visit: Visit, colours: Any) -> None:
    visit.page.set_viewport_size(PHONE)
    visit.page.emulate_media(color_scheme=colours)
    page = show(visit, "several", "int8", "thousand")
    look_at_everything(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page = show(visit, "several")
    for details in page.locator("details").all():
        details.evaluate("details => (details.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, .choices label, summary")]
            .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 24).map((e) => e.outerHTML)"""
    )
    assert small == [], "WCAG 2.2 asks for targets of 24 pixels or more"
