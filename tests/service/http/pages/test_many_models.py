"""The page where there is much of everything: twenty models, a thousand classes, photographs over the limit."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect

from export.importing.command import import_bundle
from service.contract.bundle_schema import BUNDLE_FILE
from tests.export.importing.graphs import classifier, options, saved
from tests.service.http.pages.conftest import Visit
from tests.service.live_server import PATIENCE_SECONDS, running

pytestmark = pytest.mark.pages

COPIES = [f"net-{number:02d}" for number in range(1, 20)]
THOUSAND = tuple(f"thing {number}" for number in range(1000))
BODY_BYTES = 400_000
IMAGE_PIXELS = 500_000
PHONE = ViewportSize(width=360, height=740)


@pytest.fixture(scope="module")
def address(browser: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with twenty models, one of them for large pictures of a thousand things."""
    folder = tmp_path_factory.mktemp("many")
    bundles = folder / "bundles"
    import_bundle(saved(classifier(), folder), COPIES[0], options(), bundles)
    for name in COPIES[1:]:
        copy(bundles / COPIES[0], name)
    draw = np.random.default_rng(2).standard_normal
    head = {"head.weight": draw((1000, 5), dtype=np.float32), "head.bias": draw(1000, dtype=np.float32)}
    large = classifier(constants=head, image=("N", 3, 224, 224))
    import_bundle(saved(large, folder), "thousand", options(labels=THOUSAND), bundles)
    limits: dict[str, Any] = {"max_body_bytes": BODY_BYTES, "max_image_pixels": IMAGE_PIXELS}
    with running(bundles, default_model=COPIES[0], deadline_ms=1000 * PATIENCE_SECONDS, **limits) as server:
        yield f"{server.url}/"


def copy(bundle: Path, name: str) -> None:
    shutil.copytree(bundle, bundle.parent / name)
    described = bundle.parent / name / BUNDLE_FILE
    described.write_text(json.dumps({**json.loads(described.read_text()), "name": name}))


def open_page(visit: Visit, *models: str) -> Page:
    visit.page.goto(f"{visit.address}?{urlencode([('model', name) for name in models])}")
    settled(visit.page)
    return visit.page


def settled(page: Page) -> None:
    page.wait_for_selector("#gradients svg.plot")
    expect(page.locator("#progress")).to_be_hidden()
    expect(page.locator("[aria-busy]")).to_have_count(0)


def test_models_are_searched_and_chosen_together(visit: Visit) -> None:
    page = open_page(visit)
    expect(page.locator("#verdicts article")).to_have_count(4)
    expect(page.locator("#models-title")).to_have_text("Models (4 of 20)")
    page.get_by_label("Search models").fill("net 1")
    listed = page.locator("#models .choices label:visible")
    expect(listed).to_have_count(len([name for name in COPIES if "1" in name]))
    page.get_by_label("Search models").fill("no such model")
    expect(listed).to_have_count(0)
    page.get_by_label("Search models").fill("")
    page.get_by_role("button", name="Choose just those listed").click()
    expect(page.locator("#verdicts article")).to_have_count(20)
    settled(page)
    assert len(parse_qs(urlsplit(page.url).query)["model"]) == 20


def test_twenty_models_look_different_and_have_charts_of_their_own(visit: Visit) -> None:
    page = open_page(visit, *COPIES, "thousand")
    strokes = page.locator("#models .swatch line").evaluate_all(
        "lines => lines.map((line) => line.getAttribute('stroke') + line.getAttribute('stroke-dasharray'))"
    )
    assert len(strokes) == len(set(strokes)) == 20
    charts = page.locator("#gradients .panels figure")
    expect(charts).to_have_count(20)
    expect(charts.locator("svg.plot [data-mark=line] path")).to_have_count(20)
    scales = {
        tuple(chart.locator("[data-mark='y-axis tick label'] text").all_text_contents()) for chart in charts.all()
    }
    assert len(scales) == 1, "charts side by side have the same scale"
    slider = page.get_by_role("slider", name="Layer")
    slider.press("ArrowRight")
    expect(page.locator("#gradients .readout tbody tr")).to_have_count(20)
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_model_s_look_stays_while_others_come_and_go(visit: Visit) -> None:
    page = open_page(visit, *COPIES[:3])
    stroke = page.locator("#verdicts [data-model=net-03] .swatch line").get_attribute("stroke")
    page.locator('#models input[value="net-01"]').uncheck()
    page.locator('#models input[value="net-19"]').check()
    settled(page)
    expect(page.locator("#verdicts [data-model=net-03] .swatch line")).to_have_attribute("stroke", stroke or "")


def test_samples_that_do_not_fit_are_said_to_be_so(visit: Visit) -> None:
    page = open_page(visit, "thousand")
    note = page.locator("#sample-note")
    expect(note).to_contain_text("32 × 32 pixels, and are enlarged to 224 × 224 for thousand")
    expect(note).to_contain_text("not all of what they show is among the labels of thousand")


def test_what_was_not_looked_for_is_said(visit: Visit) -> None:
    """No channel is called dead or alive by one photograph, where the model has no record of others."""
    page = open_page(visit, "net-01")
    page.locator("#verdicts article").get_by_text("What healthy means").click()
    expect(page.locator("#verdicts [data-explanation]")).to_contain_text("Dead channels were not looked for")


def test_a_photograph_over_the_limit_is_shrunk_and_stays_upright(visit: Visit) -> None:
    """A picture that lies on its side as EXIF says, of too many pixels and too many bytes."""
    page = open_page(visit, "net-01")
    pixels = np.random.default_rng(0).integers(0, 256, (700, 1000, 3), dtype=np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: to be turned clockwise
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, exif=turned)
    assert len(file.getvalue()) > BODY_BYTES
    with page.expect_response("**/predict?*") as answered:
        page.set_input_files("#file", {"name": "big.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()})
    assert answered.value.ok
    note = page.locator("[data-note=smaller]")
    expect(note).to_contain_text("made the photograph smaller: from 700 × 1,000 pixels")
    expect(note).to_contain_text("images of 0.5 million pixels, and 391 kB in one request")
    width, height = page.locator("#preview").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert width < height
    assert width * height <= IMAGE_PIXELS
    settled(page)
    with page.expect_response("**/diagnostics/shattering*") as walked:
        page.set_input_files("#second-file", {"name": "also.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()})
    assert walked.value.ok, "two of them fit into one request"
    page.wait_for_selector("#shattering canvas")
    assert re.search(r"sample=own-\d+&second=own-\d+", page.url), "the address names photographs, and holds none"


def test_after_an_error_nothing_stands_empty(visit: Visit) -> None:
    page = open_page(visit, "net-01")
    page.set_input_files("#file", {"name": "notes.jpg", "mimeType": "image/jpeg", "buffer": b"this is no photograph"})
    expect(page.locator("#photograph-error [role=alert]")).to_contain_text("415")
    expect(page.locator("main .card:visible")).to_have_count(0)
    visit.complaints.clear()  # the browser itself logs the refused request
    page.locator("#samples [data-sample=frog]").click()
    settled(page)
    expect(page.locator("main .card:visible")).to_have_count(4)


def test_a_service_without_a_model_says_what_to_do(visit: Visit, tmp_path: Path) -> None:
    with running(tmp_path) as server:
        visit.page.goto(f"{server.url}/")
        expect(visit.page.locator("#photograph-error [role=alert]")).to_contain_text("No model is served. Put a bundle")
        visit.requested.clear()  # it is another server
