"""The description of a bundle, where there is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from export.__main__ import main

SHIPPED = Path(__file__).parents[3] / "models" / "bundles" / "resnet20"


@pytest.mark.parametrize("words", [["verify"], ["record", "--data", "tests/photographs"]])
@pytest.mark.parametrize("place", ["nowhere", "model", "model/model.onnx"])
def test_what_is_no_bundle_is_told_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], place: str
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.onnx").touch()
    assert main([words[0], str(tmp_path / place), *words[1:]]) == 2
    said = capsys.readouterr().err
    assert "Errno" not in said
    reason = "there is no folder" if place == "nowhere" else "is no bundle: a folder that holds bundle.json is needed"
    assert reason in said


def cut_description(bundle: Path) -> None:
    (bundle / "bundle.json").write_bytes((bundle / "bundle.json").read_bytes()[:500])


def another_description(bundle: Path) -> None:
    (bundle / "bundle.json").write_text('{"name": 3}')


def cut_graph(bundle: Path) -> None:
    (bundle / "forward.onnx").write_bytes((bundle / "forward.onnx").read_bytes()[:300])


def no_weights(bundle: Path) -> None:
    (bundle / "weights.bin").unlink()


def no_norms(bundle: Path) -> None:
    described = json.loads((bundle / "bundle.json").read_text())
    del described["graphs"]["weight_norms"]
    (bundle / "bundle.json").write_text(json.dumps(described))


DAMAGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a description that is cut": (cut_description, "bundle.json is not valid: the file: Invalid JSON: EOF"),
    "another description": (another_description, "bundle.json is not valid: name: Input should be a valid string"),
    "a graph that is cut": (cut_graph, "the bundle is damaged, make it anew: forward.onnx cannot be read"),
    "lost weights": (no_weights, "the bundle is damaged, make it anew: "),
    "a graph left out": (no_norms, "it has no graph weight_norms, which this needs; the bundle's notes say why"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_bundle_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    spoil, reason = DAMAGED[damage]
    bundle = Path(shutil.copytree(SHIPPED, tmp_path / "resnet20"))
    spoil(bundle)
    assert main(["verify", str(bundle)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {bundle}: {reason}")
    assert said.count("\n") == 1
    assert "pydantic" not in said


def test_a_folder_of_versions_is_asked_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for version in ("1", "2"):
        shutil.copytree(SHIPPED, tmp_path / "resnet20" / version)
    assert main(["verify", str(tmp_path / "resnet20")]) == 2
    said = capsys.readouterr().err
    assert said == f"error: {tmp_path}/resnet20 holds versions 1, 2; name one, as {tmp_path}/resnet20/2\n"
