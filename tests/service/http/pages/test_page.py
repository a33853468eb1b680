"""The page, driven as people drive it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Request, Route, ViewportSize, expect

from tests.programs import needs
from tests.service.http.pages.conftest import REPOSITORY, Visit
from tests.service.live_server import PATIENCE_SECONDS

pytestmark = pytest.mark.pages

IMAGES = REPOSITORY / "tests" / "photographs"
PREDICTIONS = re.compile(r"/predict\?")
PHONE = ViewportSize(width=360, height=740)


ONE = "?model=resnet20"
PAIRS = "?model=plain20&model=resnet20&model=plain56&model=resnet56"


def served_models(visit: Visit) -> list[str]:
    with urllib.request.urlopen(f"{visit.address}models", timeout=PATIENCE_SECONDS) as response:
        return [model["name"] for model in json.load(response)["models"]]


def posted(visit: Visit, path: str, image: Path) -> Any:
    request = urllib.request.Request(f"{visit.address}{path}", data=image.read_bytes(), method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
        return json.load(response)


def open_page(visit: Visit, query: str = "") -> Page:
    """Open the page and wait for the labels, verdicts and curves of its photograph."""
    visit.page.goto(f"{visit.address}{query}")
    visit.page.wait_for_selector("#verdicts article[data-state]")
    visit.page.wait_for_selector("#gradients svg.plot")
    expect(visit.page.locator("#verdicts [aria-busy]")).to_have_count(0)
    return visit.page


def upload(page: Page, image: Path) -> None:
    """Choose a file and wait for its labels and curves."""
    with page.expect_response("**/diagnostics/gradients*"):
        page.set_input_files("#file", image)
    expect(page.locator("#preview")).to_have_attribute("alt", f"Your photograph, {image.name}")
    expect(page.locator("#gradients")).not_to_have_attribute("aria-busy", "true")


def test_an_uploaded_photograph_gets_the_labels_that_the_service_gives(visit: Visit) -> None:
    page = open_page(visit)
    image = IMAGES / "ship.jpg"
    upload(page, image)
    for article in page.locator("#verdicts article").all():
        model = article.get_attribute("data-model")
        expected = posted(visit, f"predict?model={model}", image)["predictions"][0]["labels"]
        shown = article.locator(".rank span:first-child").all_text_contents()
        assert shown == [entry["label"] for entry in expected]


def test_every_model_stands_beside_the_others_until_it_is_switched_off(visit: Visit) -> None:
    page = open_page(visit)
    served = served_models(visit)
    shown = {article.get_attribute("data-model") or "" for article in page.locator("#verdicts article").all()}
    assert shown <= set(served)
    assert len(shown) == min(4, len(served))
    for model in sorted(shown)[1:]:
        page.locator(f'#models input[value="{model}"]').uncheck()
    expect(page.locator("#verdicts article")).to_have_count(1)
    expect(page.locator("#gradients .key li")).to_have_count(1)
    last = page.locator(f'#models input[value="{min(shown)}"]')
    last.click()
    expect(last).to_be_checked()


@pytest.mark.parametrize("size", [ViewportSize(width=1280, height=900), PHONE], ids=["desktop", "phone"])
def test_the_first_screen_says_what_is_wrong(visit: Visit, size: ViewportSize) -> None:
    """The sentence of the worst model, and its state, stand above the fold."""
    visit.page.set_viewport_size(size)
    page = open_page(visit, "?model=resnet20&model=plain20-sigmoid")
    expect(page.locator("#verdicts [data-finding]")).to_have_text("Vanishing: plain20-sigmoid. Healthy: resnet20.")
    worst = page.locator("#verdicts article").first
    assert worst.get_attribute("data-model") == "plain20-sigmoid"
    box = worst.locator(".because").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= size["height"]


@pytest.mark.parametrize("model", ["plain20-sigmoid", "plain56-relu-exploding", "resnet20"])
def test_verdict_chart_and_heading_speak_of_one_quantity(visit: Visit, model: str) -> None:
    """The page repeats the words of the service, beside the curve that it decided on."""
    page = open_page(visit, f"?model={model}")
    sample = page.locator("#samples [aria-pressed=true]").get_attribute("data-sample")
    answer = posted(visit, f"diagnostics/gradients?model={model}", REPOSITORY / f"service/static/samples/{sample}.jpg")
    verdict = answer["verdict"]
    row = page.locator("#verdicts article")
    expect(row.locator(".state").first).to_have_text(verdict["state"])
    expect(row.locator(".because")).to_have_text(verdict["because"])
    assert page.locator("input[name=quantity]:checked").get_attribute("value") == "relative_gradient_norm"
    assert "are decided on this relative gradient" in page.locator("#gradients [data-finding]").inner_text()
    drawn = page.locator("#gradients svg.plot [data-mark=line] path").get_attribute("d") or ""
    assert drawn.count("M") == 1, "all layers are drawn, also those of a network that is certain"
    row.get_by_text("What ").first.click()
    opened = row.locator("[data-explanation]")
    unseen = [*verdict["not_looked_for"], *verdict["does_not_apply"].values()]
    for text in [verdict["meaning"], *verdict["advice"], *unseen]:
        expect(opened).to_contain_text(text.replace("`", ""))
    link = opened.get_by_role("link").first
    assert (link.get_attribute("href") or "") == verdict["link"]
    with page.expect_response("**/docs/verdicts*") as guide:
        link.click()
    assert guide.value.ok
    assert page.locator(f"[id='{verdict['link'].partition('#')[2]}']").count() == 1


def test_terms_are_explained_under_the_pointer_at_the_focus_and_at_a_touch(visit: Visit) -> None:
    page = open_page(visit, ONE)
    with urllib.request.urlopen(f"{visit.address}docs/glossary", timeout=PATIENCE_SECONDS) as response:
        meanings = {term.lower(): meaning for term, meaning in json.load(response)["terms"].items()}
    term = page.locator("#gradients [data-finding] .term").first
    meaning = meanings[term.inner_text().lower()]
    tip = page.get_by_role("tooltip")
    ways: list[tuple[Callable[[], None], Callable[[], None]]] = [
        (term.hover, lambda: page.mouse.move(0, 0)),
        (term.focus, lambda: page.keyboard.press("Escape")),
        (term.click, lambda: page.mouse.click(1, 1)),
    ]
    for show, hide in ways:
        show()
        expect(tip).to_have_text(meaning)
        hide()
        expect(tip).to_be_hidden()


def test_an_address_shows_another_visitor_the_same(visit: Visit) -> None:
    page = open_page(visit)
    page.locator('#models input[value="plain20-relu"]').uncheck()
    page.locator("#samples [data-sample=frog]").click()
    page.get_by_label("Gradient of the loss for").select_option("truck")
    page.get_by_text("Scaled weight", exact=True).click()
    page.locator("#shattering [data-sample=ship]").click()
    page.wait_for_selector("#shattering canvas")
    page.get_by_role("slider", name="Layer").fill("8")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy a link").click()
    address = page.evaluate("navigator.clipboard.readText()")
    assert address == page.url

    def shown() -> list[Any]:
        checked = page.locator("input:checked").evaluate_all("boxes => boxes.map((box) => box.value)")
        pressed = page.locator("[aria-pressed=true]").evaluate_all("all => all.map((one) => one.dataset.sample)")
        readout = page.locator("#gradients .readout").inner_text()
        return [checked, pressed, page.locator("#label").input_value(), readout]

    before = shown()
    open_page(visit, f"?{urlsplit(address).query}")
    page.wait_for_selector("#shattering canvas")
    assert shown() == before
    assert before[1:3] == [["frog", "ship"], "truck"]

    page.locator("#samples [data-sample=dog]").click()
    expect(page.locator("#samples [data-sample=dog]")).to_have_attribute("aria-pressed", "true")
    with page.expect_response("**/diagnostics/gradients*"):
        page.go_back()
    expect(page.locator("#samples [data-sample=frog]")).to_have_attribute("aria-pressed", "true")
    page.go_forward()
    expect(page.locator("#samples [data-sample=dog]")).to_have_attribute("aria-pressed", "true")


def test_what_an_address_asks_for_in_vain_is_said(visit: Visit) -> None:
    page = open_page(visit, "?model=resnet20&model=nowhere&sample=own-1&label=unicorn")
    note = page.locator("#address-note")
    for missing in ("the model nowhere", "a photograph of its sender's own", "the label unicorn"):
        expect(note).to_contain_text(missing)
    expect(page.locator("#verdicts article")).to_have_count(1)


def test_the_curves_show_every_layer_and_the_arrow_keys_read_them(visit: Visit) -> None:
    page = open_page(visit)
    image = IMAGES / "cat.jpg"
    upload(page, image)
    model = page.locator("#gradients .key li").first.inner_text()
    layers = posted(visit, f"diagnostics/gradients?model={model}", image)["layers"]
    curves = page.locator("#gradients svg.plot [data-mark=line] path")
    assert curves.count() == page.locator("#gradients .key li").count()

    slider = page.get_by_role("slider", name="Layer")
    slider.focus()
    for name in [layer["name"] for layer in layers[1:3]]:
        slider.press("ArrowRight")
        expect(page.locator("#gradients .readout h3")).to_contain_text(name)
        assert name in (slider.get_attribute("aria-valuetext") or "")

    page.get_by_text("Every layer in a table").click()
    assert page.locator("#gradients [data-table] tbody tr").count() >= len(layers)


def test_hovering_the_curves_reads_the_layer_under_the_pointer(visit: Visit) -> None:
    page = open_page(visit, ONE)
    plot = page.locator("#gradients svg.plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 16, box["y"] + box["height"] / 2)
    slider = page.get_by_role("slider", name="Layer")
    expect(slider).to_have_value(slider.get_attribute("max") or "")


def test_each_quantity_has_its_own_curves(visit: Visit) -> None:
    page = open_page(visit, ONE)
    before = page.locator("#gradients svg.plot [data-mark=line] path").first.get_attribute("d")
    page.get_by_text("Scaled weight", exact=True).click()
    line = page.locator("#gradients svg.plot [data-mark=line] path").first
    expect(line).not_to_have_attribute("d", before or "")


def test_another_label_gives_another_gradient(visit: Visit) -> None:
    page = open_page(visit, ONE)
    with page.expect_request(lambda request: "label=truck" in request.url and "gradients" in request.url):
        page.get_by_label("Gradient of the loss for").select_option("truck")


def test_a_file_that_is_no_photograph_is_refused_in_words_and_the_next_one_works(visit: Visit, tmp_path: Path) -> None:
    page = open_page(visit, ONE)
    bad = tmp_path / "notes.jpg"
    bad.write_text("this is no photograph")
    page.set_input_files("#file", bad)
    alert = page.locator("#photograph-error [role=alert]")
    expect(alert).to_contain_text("415")
    assert len(alert.inner_text().split()) > 5
    for section in ("verdicts", "gradients", "shattering", "features"):
        expect(page.locator(f"#{section}")).to_be_hidden()
    refusals = [text for text in visit.complaints if "415" in text]
    assert refusals == visit.complaints, "the browser itself logs refused requests, and nothing else may be logged"
    visit.complaints.clear()

    upload(page, IMAGES / "frog.png")
    expect(alert).to_have_count(0)
    assert page.locator("#verdicts article").count() >= 1


def test_a_second_photograph_shows_how_the_gradient_changes_on_the_way(visit: Visit) -> None:
    page = open_page(visit)
    page.locator("#shattering [data-sample=ship]").click()
    expect(page.locator("#shattering .matrices canvas")).to_have_count(page.locator("#verdicts article").count())
    assert page.locator("#shattering .verdict .state").count() >= 1
    assert page.locator("#shattering svg.plot [data-mark=line] path").count() >= 3, "white, brown and a model"


def test_a_path_of_fewer_points_says_so_and_is_compared_by_distance(visit: Visit) -> None:
    """One of two models answers with fewer points, as it does where there was too little time for more."""
    note = "The path has 24 points, not 64."

    def answered_in_short(route: Route) -> None:
        answer = route.fetch(url=f"{route.request.url}&points=24").json()
        route.fulfill(json=answer | {"points_note": note})

    page = open_page(visit, "?model=plain20&model=resnet20")
    page.route("**/diagnostics/shattering?model=plain20*", answered_in_short)
    page.locator("#shattering [data-sample=ship]").click()
    expect(page.locator("#shattering .matrices canvas")).to_have_count(2)
    expect(page.locator("#shattering .verdict[data-model=plain20]")).to_contain_text(note)
    expect(page.locator("#shattering .verdict[data-model=resnet20]")).not_to_contain_text(note)
    expect(page.locator("#shattering")).to_contain_text("different numbers of points: plain20 24 and resnet20 64")
    expect(page.locator("#shattering svg.plot")).to_contain_text("% of the path")
    page.get_by_text("Autocorrelation in a table").click()
    expect(page.locator("#shattering table thead")).to_contain_text("plain20, 24 points")
    assert page.locator("#shattering table tbody tr").count() == 32


def test_noise_can_stand_in_for_a_second_photograph(visit: Visit) -> None:
    page = open_page(visit, ONE)
    with page.expect_response("**/diagnostics/shattering*") as answer:
        page.get_by_role("button", name="Noise instead").click()
    assert answer.value.ok
    page.wait_for_selector("#shattering canvas")


def test_features_appear_once_they_are_scrolled_to(visit: Visit) -> None:
    page = open_page(visit, ONE)
    assert page.locator("#features .pictures img").count() == 0
    page.locator("#features").scroll_into_view_if_needed()
    picture = page.locator("#features .pictures img").first
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_training_curves_of_the_shipped_models_are_drawn(visit: Visit) -> None:
    page = open_page(visit)
    trained = page.locator("#training tbody tr")
    assert trained.count() >= 2
    for plot in page.locator("#training svg.plot").all():
        assert plot.locator("[data-mark=line] path").count() == trained.count()


def test_the_four_nets_that_were_trained_alike_show_what_depth_does(visit: Visit) -> None:
    page = open_page(visit, PAIRS)
    finding = page.locator("#training [data-finding]")
    expect(finding).to_contain_text(
        "On training and test images alike, plain56 is worse than plain20 and resnet56 is better than resnet20."
    )
    expect(finding).to_contain_text(re.compile(r"20 layers: .* with shortcuts; 56 layers: .* with shortcuts\."))


@pytest.mark.parametrize("other", ["epochs", "recipe"])
def test_a_net_that_was_trained_otherwise_says_nothing_about_depth(visit: Visit, other: str) -> None:
    def trained_otherwise(route: Route) -> None:
        model = route.fetch().json()
        if other == "epochs":
            del model["training"]["epochs"][1:]
        else:
            model["training"]["recipe"]["learning_rate"] = 3.5
        route.fulfill(json=model)

    visit.page.route(re.compile(r"/models/\w+56$"), trained_otherwise)
    page = open_page(visit, PAIRS)
    finding = page.locator("#training [data-finding]")
    expect(finding).to_contain_text("with shortcuts; 56 layers")
    expect(finding).not_to_contain_text(re.compile("worse|better"))
    expect(finding).to_contain_text("56 layers after 1 epoch:" if other == "epochs" else "56 layers:")


@needs("curl")
def test_the_copied_command_gives_the_same_answer(visit: Visit) -> None:
    page = open_page(visit)
    upload(page, IMAGES / "truck.jpg")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    card = page.locator("#verdicts")
    card.get_by_text("The same from a terminal").click()
    card.get_by_role("button", name="Copy").first.click()
    card.get_by_role("button", name="Copied").wait_for()
    command = page.evaluate("navigator.clipboard.readText()")
    assert command == card.locator(".command code").first.inner_text()
    answer = subprocess.run(
        [*shlex.split(command), "-sS"], cwd=IMAGES, capture_output=True, check=True, timeout=PATIENCE_SECONDS
    )
    found = json.loads(answer.stdout)
    row = card.locator(f"article[data-model='{found['model']}']")
    assert found["predictions"][0]["labels"][0]["label"] == row.locator(".rank span").first.text_content()


def test_a_plot_is_one_command_away(visit: Visit) -> None:
    page = open_page(visit, ONE)
    commands = page.locator("#gradients code").all_text_contents()
    assert any("format=svg" in command for command in commands)


def test_anything_slow_shows_that_it_is_under_way(visit: Visit) -> None:
    page = visit.page
    held: list[Route] = []
    page.route(PREDICTIONS, lambda route: held.append(route))
    page.goto(visit.address + ONE)
    expect(page.locator("#progress")).to_be_visible()
    expect(page.locator("#verdicts")).to_have_attribute("aria-busy", "true")
    for route in held:
        route.continue_()
    page.wait_for_selector("#gradients svg.plot")
    expect(page.locator("#progress")).to_be_hidden()


def test_a_service_that_is_gone_is_said_so(visit: Visit) -> None:
    page = open_page(visit, ONE)
    page.route(PREDICTIONS, lambda route: route.abort())
    page.locator("#samples [data-sample=dog]").click()
    expect(page.locator("#photograph-error [role=alert]")).to_contain_text("cannot be reached")
    visit.complaints.clear()


def test_a_second_photograph_that_cannot_be_fetched_is_said_so(visit: Visit) -> None:
    page = open_page(visit, ONE)
    page.route("**/samples/ship.jpg", lambda route: route.abort())
    page.locator("#shattering [data-sample=ship]").click()
    expect(page.locator("#shattering [role=alert]")).to_contain_text("cannot be fetched")
    visit.complaints.clear()


def test_the_page_works_by_keyboard_alone(visit: Visit) -> None:
    page = open_page(visit, ONE)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the photograph")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#file")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    with page.expect_response("**/diagnostics/gradients*"):
        page.keyboard.press("Enter")
    expect(page.locator("#samples [data-sample=ship]")).to_have_attribute("aria-pressed", "true")
    summary = page.locator("#verdicts article").first.get_by_text("What ").first
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#verdicts [data-explanation]").first).to_have_attribute("open", "")


def test_everything_that_can_be_used_has_a_name(visit: Visit) -> None:
    page = open_page(visit)
    page.locator("#shattering [data-sample=ship]").click()
    page.wait_for_selector("#shattering canvas")
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, select, canvas, svg[class~=plot], img:not([hidden])")]
            .filter((e) => !(e.getAttribute("aria-label") || e.title || e.alt))
            .filter((e) => !(e.textContent.trim() || e.labels?.length))
            .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    identifiers = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(identifiers) == len(set(identifiers))
    expect(page.locator("h1")).to_have_count(1)
    assert "Healthy: " in (page.locator("#status").text_content() or "")


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(visit: Visit, colours: Any) -> None:
    visit.page.set_viewport_size(PHONE)
    visit.page.emulate_media(color_scheme=colours)
    page = open_page(visit)
    page.locator("#shattering [data-sample=ship]").click()
    page.wait_for_selector("#shattering canvas")
    page.locator("#features").scroll_into_view_if_needed()
    page.wait_for_selector("#features .pictures img")
    for details in page.locator("details").all():
        details.evaluate("details => (details.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, #models label, .segments label, summary")]
            .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 24).map((e) => e.outerHTML)"""
    )
    assert small == [], "WCAG 2.2 asks for targets of 24 pixels or more"


def test_swagger_lists_the_operations_without_asking_another_host(visit: Visit) -> None:
    visit.page.goto(f"{visit.address}docs")
    expect(visit.page.locator(".opblock-summary-path").filter(has_text="predict").first).to_be_visible()


def test_redoc_lists_the_operations_without_asking_another_host(visit: Visit) -> None:
    answered: list[Request] = []
    visit.page.on("requestfinished", lambda request: answered.append(request))
    visit.page.goto(f"{visit.address}redoc")
    visit.page.get_by_text("/predict").first.wait_for(state="attached")
    assert all(request.url.startswith((visit.address, "data:", "blob:")) for request in answered)
