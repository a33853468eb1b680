"""The HTML report of `python -m service diagnose`: what it says, and that it says it to every reader."""

from __future__ import annotations

import base64
import io
import re
import shutil
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.bundles.disk import read_bundle
from service.contract.bundle_schema import Bundle
from service.diagnostics.verdicts.explanations import SECTIONS
from service.diagnostics.versions.intervals import wilson
from service.offline import diagnose
from service.offline.living_channels import LivingChannels, channels_of
from service.offline.report.classes import class_section
from service.offline.report.galleries import GUESSES, guesses, thumbnail
from service.offline.report.judgement import Judgement, judged, verdict_section
from service.offline.report.markup import in_percent, number
from service.offline.report.sampling import EveryKth
from service.offline.report.tally import Answers, Tally
from service.offline.table import FIRST_ALIVE, LAYER_PREFIX, NUMBERS

ROOT = Path(__file__).parents[3]
BUNDLE = ROOT / "models" / "bundles" / "resnet20"
PHOTOGRAPHS = ROOT / "tests" / "photographs"
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on two photographs each of nine classes, a truck among the ships, one without label, one broken."""
    data = tmp_path_factory.mktemp("report") / "data"
    for label in NAMES:
        (data / label).mkdir(parents=True)
        for name in (f"{label}.jpg", f"{label}2.jpg"):
            shutil.copy(PHOTOGRAPHS / name, data / label)
    shutil.copy(PHOTOGRAPHS / "truck.jpg", data / "ship")
    (data / "unsorted").mkdir()
    shutil.copy(PHOTOGRAPHS / "truck2.jpg", data / "unsorted")
    (data / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing")
    out = data.parent / "report.html"
    assert diagnose.main(["--bundle", str(BUNDLE), "--data", str(data), "--out", str(out)]) == 0
    return out


class Words(HTMLParser):
    """The words of a page in order, without its style sheet."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        if self.cdata_elem is None:
            self.words.append(data)


def spoken(page: str) -> str:
    return re.sub(r"\s+", " ", " ".join(Words(page).words))


@pytest.fixture(scope="module")
def page(written: Path) -> str:
    return written.read_text(encoding="utf-8")


def section(page: str, identity: str) -> str:
    return page.split(f'<section id="{identity}">')[1].split("</section>")[0]


def test_the_first_screen_says_how_good_it_is_and_what_was_measured(page: str) -> None:
    first = spoken(page.split("<nav")[0])
    rightly = int(re.search(r"(\d+) of 19 images are classified", first)[1])  # type: ignore[index]
    low, high = wilson(rightly, 19)
    assert f"Accuracy {in_percent(rightly / 19)} 95 % interval {in_percent(low)} to {in_percent(high)}: " in first
    assert "Always answering the most frequent label would give 15.8 %." in first
    assert (
        "Images 21 20 with a label of the model. 1 without: the name of their folder is no label (unsorted)." in first
    )
    assert "1 could not be decoded." in first
    assert f"Gradients healthy {SECTIONS['healthy'].rules['no finding'].meaning}" in first
    made = re.search(r"Made (\S+ \S+)", first)[1]  # type: ignore[index]
    assert datetime.fromisoformat(made).tzinfo is not None
    assert read_bundle(BUNDLE).digest in first
    assert "CPUExecutionProvider" in first


def test_the_wrong_label_is_suspected_first(page: str) -> None:
    first = section(page, "suspects").split("<li>")[1]
    assert "ship/truck.jpg" in first
    assert "labelled ship" in first
    assert GUESSES not in section(page, "suspects")
    assert "predicted truck" in first


def test_the_confusion_matrix_counts_every_labelled_image(page: str) -> None:
    matrix = section(page, "classes").split("</table>")[0]
    ship = re.search(r'<th scope="row">ship</th>(.*?)</tr>', matrix, re.DOTALL)[1]  # type: ignore[index]
    assert [int(cell) for cell in re.findall(r">(\d+)</td>", ship)] == [0] * 8 + [2, 1]
    assert sum(map(int, re.findall(r">(\d+)</td>", matrix))) == 19


def test_the_report_asks_for_nothing_and_runs_nothing(page: str) -> None:
    references = re.findall(r'(?:src|href)="([^"]{0,5})', page)
    assert {one[0] if one[0] == "#" else one for one in references} == {"#", "data:"}
    assert "<script" not in page
    assert not re.search(r"url\(|@import|\son\w+=", page)


def test_every_table_has_a_caption_and_headings_and_every_picture_its_words(page: str) -> None:
    tables = page.count("<table")
    assert tables == page.count("<caption>") == page.count('role="region" tabindex="0" aria-label=') == 3
    assert not re.search(r"<th(?! scope=)[ >]", page)
    assert not re.search(r'<img(?! alt="picture )', page)
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets <= set(re.findall(r' id="([^"]+)"', page))


def test_no_bare_symbol_stands_for_a_quantity(page: str) -> None:
    assert not re.search(r"‖|dL/|∂|decades per layer", spoken(page))


def test_what_was_not_looked_for_is_said(page: str) -> None:
    missing = section(page, "verdict").split("Not looked for")[1]
    assert "Shattered gradients were not looked for" in missing
    assert "Dead channels" not in missing


def test_a_verdict_says_where_to_read_on(page: str) -> None:
    assert "docs/reference/verdicts.md of Contraflow, section healthy" in " ".join(spoken(page).split())


# ---------------------------------------------------------------- the verdict


def row(bundle: Bundle, number_of: int, relative: list[float], alive: str, size: float = 1.0) -> dict[str, str]:
    """A row of a table as it is measured, without a label, and predicted to be a cat."""
    numbers = dict.fromkeys(NUMBERS, "1") | {"logit_gradient_norm": str(size)}
    layers = {LAYER_PREFIX + layer.name: str(r) for layer, r in zip(bundle.layers, relative, strict=True)}
    named = {"path": f"{number_of:03}.jpg", "label": "", "predicted": "cat", "error": "", FIRST_ALIVE: alive}
    return {**named, **numbers, **layers}


def judgement_of(images: int, **of: Any) -> tuple[Bundle, Judgement]:
    """Judge images of which all layers get a relative gradient of 10, but three quarters of the first are never alive.

    `of` changes the bundle.
    """
    bundle = read_bundle(BUNDLE).bundle.model_copy(update=of)
    peaks = np.ones((images, channels_of(bundle)), np.float32)
    peaks[:, : 3 * bundle.layers[0].channels // 4] = 0
    tally, living = Tally(bundle), LivingChannels(bundle)
    for at, cell in enumerate(living.cells(peaks)):
        tally.take(row(bundle, at, [10.0] * len(bundle.layers), cell))
    return bundle, judged(tally)


def test_a_layer_that_is_dead_on_the_folder_s_images_is_dead_whatever_the_record_says() -> None:
    bundle, judgement = judgement_of(16)
    assert bundle.baseline is not None
    assert bundle.baseline.dead_fraction[bundle.layers[0].name] < 0.5
    assert judgement.verdict.state == "dead"
    assert judgement.verdict.findings[0].layers == [bundle.layers[0].name]
    assert "75 % of the channels are 0 at every position of all 16 images" in judgement.verdict.because
    assert judgement.states[:2] == ["dead", "healthy"]


def test_too_few_images_fall_back_on_the_record_or_say_so() -> None:
    assert judgement_of(15)[1].verdict.state == "healthy"
    verdict = judgement_of(15, baseline=None)[1].verdict
    assert verdict.state == "healthy"
    assert any("Dead channels were not looked for" in sentence for sentence in verdict.not_looked_for)


def test_what_cannot_be_in_the_network_is_said_too() -> None:
    layers = read_bundle(BUNDLE).bundle.layers
    bare = tuple(layer.model_copy(update={"rectifier": None, "channels": 0}) for layer in layers)
    said = "".join(verdict_section(judgement_of(16, layers=bare)[1], accuracy_is_known=False).itertext())
    assert "no layer is followed by a rectifier" in said.split("Not looked for")[1]


def test_a_single_image_without_a_finite_gradient_is_found() -> None:
    bundle = read_bundle(BUNDLE).bundle
    tally = Tally(bundle)
    for at in range(20):
        tally.take(row(bundle, at, [float("nan") if at == 7 else 1.0] * len(bundle.layers), ""))
    assert judged(tally).verdict.state == "not finite"


def test_every_kth_row_is_kept_where_all_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.offline.report.sampling.LEAST_ROWS", 4)
    monkeypatch.setattr("service.offline.report.sampling.MOST_NUMBERS", 8)
    kept = EveryKth(2)
    for at in range(19):
        kept.take([at, -at])
    assert kept.step == 8
    assert kept.rows.tolist() == [[0, 0], [8, -8], [16, -16]]


# ---------------------------------------------------------------- classes


def answers_of(counts: dict[tuple[str, str], int]) -> Answers:
    answers = Answers.none()
    for (label, answer), count in counts.items():
        for _ in range(count):
            answers.take(label, [answer])
    return answers


def test_many_classes_have_the_most_confused_pairs_and_a_folded_table() -> None:
    names = tuple(f"class {at}" for at in range(1000))
    bundle = read_bundle(BUNDLE).bundle.model_copy(update={"labels": names})
    wrong = {(names[at], names[at + 1]): 1 for at in range(40)} | {(names[7], names[9]): 3}
    made = class_section(bundle, answers_of(wrong | {(names[at], names[at]): 2 for at in range(40)}))
    assert made is not None
    captions = ["".join(caption.itertext()) for caption in made.iter("caption")]
    assert captions == ["The 25 most frequent confusions of 41", "Classes, the least often recognized first"]
    assert [cell.text for cell in next(iter(made.iter("tbody")))[0]] == [names[7], names[9], "3 of 6", "50.0 %"]
    assert next(iter(made.iter("details")))[0].text == "All 40 classes with images, the least often recognized first"


def test_few_of_many_labels_have_a_matrix_of_those_that_occur() -> None:
    names = tuple(f"class {at}" for at in range(1000))
    bundle = read_bundle(BUNDLE).bundle.model_copy(update={"labels": names})
    made = class_section(bundle, answers_of({(names[3], names[3]): 2, (names[5], names[999]): 1}))
    assert made is not None
    matrix = next(iter(made.iter("table")))
    assert ["".join(cell.itertext()) for cell in matrix.iter("th")] == [
        "label", names[3], names[5], names[999], names[3], names[5]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(0, 10, 0.0, 0.2775), (8, 10, 0.4902, 0.9433), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_the_interval_is_wilson_s(hits: int, of: int, low: float, high: float) -> None:
    """The last is in Newcombe 1998 (Statistics in Medicine 17, 857–872, table I)."""
    assert wilson(hits, of) == pytest.approx((low, high), abs=1e-4)


def test_numbers_are_short_and_hide_nothing() -> None:
    values = (0.0, 0.0123456, 1.234, 99.96, 12_345.6, 3e-9, 2.5e12, float("nan"), float("inf"))
    expected = "0, 0.0123, 1.23, 100, 12,300, 3.0 × 10⁻⁹, 2.5 × 10¹², not a number, infinite"
    assert ", ".join(map(number, values)) == expected
    assert [in_percent(share) for share in (0, 1e-4, 0.5, 0.9999, 1)] == [
        "0.0 %", "under 0.1 %", "50.0 %", "over 99.9 %", "100.0 %"
    ]  # fmt: skip


def test_a_network_that_guesses_finds_no_label_errors() -> None:
    tally = Tally(read_bundle(BUNDLE).bundle)
    for at in range(20):
        tally.take(row(tally.bundle, at, [1.0] * len(tally.bundle.layers), "") | {"label": ("cat", "dog")[at % 2]})
    assert guesses(tally), "all are taken for cats"


# ---------------------------------------------------------------- pictures


def test_thumbnails_show_what_the_model_sees(tmp_path: Path) -> None:
    spec = read_bundle(BUNDLE).bundle.input
    photograph = (PHOTOGRAPHS / "cat.jpg").read_bytes()
    (tmp_path / "whole.jpg").write_bytes(photograph)
    (tmp_path / "without_end.jpg").write_bytes(photograph[:-2])
    assert thumbnail(tmp_path / "without_end.jpg", spec) == thumbnail(tmp_path / "whole.jpg", spec) is not None
    Image.fromarray(np.full((180, 200), 100 * 257, np.uint16)).save(tmp_path / "grey16.png")
    made = thumbnail(tmp_path / "grey16.png", spec)
    assert made is not None
    with Image.open(io.BytesIO(base64.b64decode(made[0].partition(",")[2]))) as small:
        assert small.size == (112, 101)
        assert np.abs(np.asarray(small).astype(int) - 100).max() <= 2
    assert thumbnail(tmp_path / "missing.png", spec) is None
