"""An int8 model and one of independent labels: in this process they answer as in a service, and so do the verbs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import contraflow as cf
from export.importing.command import import_bundle
from service.offline import check, diagnose
from tests.export.importing.answer.endings import Ending
from tests.export.importing.graphs import node, options, saved
from tests.export.importing.types.coarse_file import (
    by_the_file,
    coarse,
    pictures_that_differ,
    pixels,
    without_rounding,
)
from tests.picture_files import png
from tests.service.live_server import running

SEVERAL = Ending([node("Sigmoid", ["scores"], ["out"])]).model()
MODELS = {"int8": coarse(), "several": SEVERAL}
PICTURES = list(pixels()[:4])
LISTS = [["cat", "dog"], [], None, "bee"]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kinds")
    for name, model in MODELS.items():
        import_bundle(saved(model, folder), name, options(), folder / "bundles")
    return folder / "bundles"


@pytest.fixture(scope="module")
def address(bundles: Path) -> Iterator[str]:
    with running(bundles, default_model="int8", warm_up=False) as server:
        yield server.url


EQUAL: dict[str, tuple[str, Callable[[cf.Model], Any]]] = {
    "predictions by the file's own graph": ("int8", lambda model: model.predict(PICTURES)),
    "gradients of the float network": ("int8", lambda model: model.gradients(list(pictures_that_differ(False)))),
    "gradients where the two disagree": ("int8", lambda model: model.gradients(list(pixels()), "cat")),
    "predictions of independent labels": ("several", lambda model: model.predict(PICTURES)),
    "gradients of predicted labels": ("several", lambda model: model.gradients(PICTURES)),
    "gradients of sets of labels": ("several", lambda model: model.gradients(PICTURES, LISTS)),
    "with everything": (
        "several",
        lambda model: model.gradients(
            PICTURES, [["cat"], [], [0, 3], "bee"], include=["batch_gradient", "activations", "input_gradient"]
        ),
    ),
    "a verdict": ("several", lambda model: model.check(PICTURES, LISTS)),
}


@pytest.mark.parametrize(("name", "ask"), EQUAL.values(), ids=list(EQUAL))
def test_both_give_the_same_answer(bundles: Path, address: str, name: str, ask: Callable[[cf.Model], Any]) -> None:
    def answer(model: cf.Model) -> dict[str, Any]:
        written: dict[str, Any] = ask(model).model_dump(mode="json")
        written.pop("request_id", None)
        return written

    found = answer(cf.load(bundles / name, execution_provider="cpu"))
    assert found == answer(cf.load(address, model=name))
    if name == "int8":
        assert found["quantized"].startswith("computed by the ")


def test_an_int8_model_s_answers_say_by_whom_they_are(bundles: Path) -> None:
    model = cf.load(bundles / "int8", execution_provider="cpu")
    same, other = pictures_that_differ(False)[0], pictures_that_differ(True)[0]
    said = model.predict([same, other]).quantized
    assert said is not None
    assert said.startswith("computed by the file's own int8 graph")
    assert "The two disagree" not in str(model.gradients([same]).quantized)
    assert "The two disagree here on 1 of 2: image 2: " in str(model.gradients([same, other]).quantized)


def test_sets_of_labels_are_refused_where_classes_exclude_each_other(bundles: Path, address: str) -> None:
    for model in (cf.load(bundles / "int8", execution_provider="cpu"), cf.load(address, model="int8")):
        with pytest.raises(cf.ContraflowError, match="The classes of int8 exclude each other"):
            model.gradients(PICTURES[:2], [["cat", "dog"], []])


def written(folder: Path, label: str = "cat") -> Path:
    """A folder of the pictures, all of one label."""
    (folder / "data" / label).mkdir(parents=True)
    for row, picture in enumerate(pixels()):
        (folder / "data" / label / f"{row:02}.png").write_bytes(png(picture))
    return folder / "data"


def test_check_names_the_images_on_which_an_int8_model_has_two_answers(
    bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check.main([str(bundles / "int8"), "--data", str(written(tmp_path)), "--images", "40"])
    differing = len(pictures_that_differ(True))
    assert f"The two disagree here on {differing} of 40: image " in capsys.readouterr().out


def test_diagnose_has_a_column_of_what_an_int8_model_predicts_in_service(bundles: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    given = ["--data", str(written(tmp_path)), "--out", str(out)]
    assert diagnose.main(["--bundle", str(bundles / "int8"), *given]) == 0
    with out.with_suffix(".csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    labels = np.array(options().labels)
    assert [row["served"] for row in rows] == labels[by_the_file().argmax(axis=1)].tolist()
    assert [row["predicted"] for row in rows] == labels[without_rounding().argmax(axis=1)].tolist()
    assert f"The two disagree on {len(pictures_that_differ(True))} images of the table." in out.read_text()


def test_check_and_diagnose_of_independent_labels(
    bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(written(tmp_path))
    assert check.main([str(bundles / "several"), "--data", data]) in (0, 1)
    assert "several@1" in capsys.readouterr().out
    assert diagnose.main(["--bundle", str(bundles / "several"), "--data", data, "--out", f"{tmp_path}/r.csv"]) == 0
    with (tmp_path / "r.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert "served" not in rows[0]
    model = cf.load(bundles / "several", execution_provider="cpu")
    # The folder says that a cat is there, and nothing of the other labels.
    sets = [sorted({"cat", *(one.predicted or ())}) for one in model.predict(list(pixels())).predictions]
    samples = model.gradients(list(pixels()), sets).model_dump()["samples"]
    assert [float(row["loss"]) for row in rows] == pytest.approx([sample["loss"] for sample in samples], rel=1e-5)
