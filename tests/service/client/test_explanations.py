"""Explanations in Python and in a terminal: the same answers in this process, from a service, and as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import contraflow as cf
from contraflow.__main__ import main
from export.importing.command import import_bundle
from tests.export.importing.graphs import classifier, options, saved
from tests.service.imported_bundles import LABELS, write_independent
from tests.service.live_server import running

PHOTOGRAPHS = Path(__file__).parents[3] / "tests" / "photographs"
PATHS = [PHOTOGRAPHS / name for name in ("cat.jpg", "frog.png")]

Ask = Callable[[cf.Model], Any]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("explained")
    write_independent(folder / "bundles", "several")
    import_bundle(saved(classifier(), folder), "one", options(), folder / "bundles")
    return folder / "bundles"


@pytest.fixture(scope="module")
def address(bundles: Path) -> Iterator[str]:
    with running(bundles, default_model="one", warm_up=False) as server:
        yield server.url


EQUAL: dict[str, Ask] = {
    "of the predicted label": lambda model: model.explain(PATHS),
    "of one label": lambda model: model.explain(PATHS[0], model.labels[1]),
    "of a label by number, for each image": lambda model: model.explain(PATHS, [0, 1]),
    "integrated gradients": lambda model: model.explain(PATHS, method="integrated_gradients", steps=8),
    "of noisy copies": lambda model: model.explain(PATHS, method="smooth_grad", steps=8),
    "input times gradient": lambda model: model.explain(PATHS, method="input_x_gradient"),
}


@pytest.mark.parametrize("name", ["one", "several"])
@pytest.mark.parametrize("ask", EQUAL.values(), ids=list(EQUAL))
def test_both_give_the_same_explanation(ask: Ask, name: str, bundles: Path, address: str) -> None:
    def answer(model: cf.Model) -> dict[str, Any]:
        written: dict[str, Any] = ask(model).model_dump(mode="json")
        written.pop("request_id")
        return written

    local = cf.load(bundles / name, execution_provider="cpu")
    assert answer(local) == answer(cf.load(address, model=name))


REFUSED: dict[str, Ask] = {
    "an unknown method": lambda model: model.explain(PATHS, method="grad-cam"),
    "an unknown layer": lambda model: model.explain(PATHS, layer="attic"),
    "a layer of pixels": lambda model: model.explain(PATHS, method="smooth_grad", layer="attic"),
    "an unknown label": lambda model: model.explain(PATHS, "unicorn"),
    "too many steps": lambda model: model.explain(PATHS, method="smooth_grad", steps=10**6),
}


@pytest.mark.parametrize("ask", REFUSED.values(), ids=list(REFUSED))
def test_both_refuse_with_the_same_words(ask: Ask, bundles: Path, address: str) -> None:
    said = []
    for model in (cf.load(bundles / "one", execution_provider="cpu"), cf.load(address)):
        with pytest.raises(cf.ContraflowError) as refusal:
            ask(model)
        said.append((str(refusal.value), refusal.value.slug))
    assert said[0] == said[1]


def test_two_independent_labels_at_once_are_refused(bundles: Path) -> None:
    with pytest.raises(cf.ContraflowError, match="one label"):
        cf.load(bundles / "several", execution_provider="cpu").explain(PATHS[0], [list(LABELS[:2])])


def explain(*words: str | Path) -> int:
    return main(["explain", *map(str, words), "--execution-provider", "cpu"])


def test_the_terminal_says_what_was_seen(bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(bundles / "one", PATHS[0]) == 0
    seen = cf.load(bundles / "one", execution_provider="cpu").explain(PATHS[0])
    printed = capsys.readouterr().out
    assert seen.samples[0].because in printed
    assert printed.startswith(f"{seen.samples[0].label}: logit ")


def test_the_terminal_says_whether_the_evidence_adds_up(bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(bundles / "several", PATHS[0], "--method", "integrated_gradients", "--label", LABELS[3]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{LABELS[3]}: ")
    assert "All evidence adds up to" in printed


def test_the_ending_of_a_name_chooses_the_form(bundles: Path, tmp_path: Path) -> None:
    for ending in (".png", ".svg", ".json"):
        assert explain(bundles / "one", PATHS[0], "-o", tmp_path / f"why{ending}") == 0
    with Image.open(tmp_path / "why.png") as picture, Image.open(PATHS[0]) as photograph:
        assert picture.width * photograph.height == pytest.approx(picture.height * photograph.width, rel=0.01)
    assert "<svg" in (tmp_path / "why.svg").read_text(encoding="utf-8")[:200]
    written = json.loads((tmp_path / "why.json").read_text(encoding="utf-8"))
    expected = cf.load(bundles / "one", execution_provider="cpu").explain(PATHS[0])
    assert written == expected.model_dump(mode="json")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--label", "unicorn"], "no label 'unicorn'"),
        (["--layer", "attic"], "no layer 'attic'"),
        (["--method", "smooth_grad", "--steps", "1"], "`steps` must be"),
    ],
)
def test_what_cannot_be_explained_is_said_in_a_line(
    words: list[str], said: str, bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(bundles / "one", PATHS[0], *words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_another_ending_is_refused_before_anything_is_run(bundles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        main(["explain", str(bundles / "one"), str(PATHS[0]), "-o", "why.gif"])
    assert refusal.value.code == 2
    assert ".png, .svg, .json" in capsys.readouterr().err
