"""The gate: what it looks at, what it says where it could not look, and its exit status."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from service.__main__ import main
from service.contract.bundle_schema import BUNDLE_FILE
from tests.service.offline.checked import answer

ROOT = Path(__file__).parents[3]
BUNDLES = ROOT / "models" / "bundles"
PHOTOGRAPHS = ROOT / "tests" / "photographs"
STATES = {
    "plain20": "healthy",
    "plain20-relu": "healthy",
    "plain20-sigmoid": "vanishing",
    "plain56": "healthy",
    "plain56-relu-exploding": "exploding",
    "resnet20": "healthy",
    "resnet56": "healthy",
}


def changed(folder: Path, *without: str) -> Path:
    """Copy resnet20 without its record of the training (`baseline`) or without one of its graphs."""
    copy = folder / "resnet20"
    shutil.copytree(BUNDLES / "resnet20", copy)
    description = json.loads((copy / BUNDLE_FILE).read_text())
    for name in without:
        description["graphs"].pop(name, None)
        description.pop(name, None)
    (copy / BUNDLE_FILE).write_text(json.dumps(description))
    return copy


@pytest.fixture(scope="module")
def unrecorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return changed(tmp_path_factory.mktemp("unrecorded"), "baseline")


def test_the_shipped_bundles_are_what_they_are_known_for(capsys: pytest.CaptureFixture[str]) -> None:
    """On pictures made for the check, whatever they were trained on."""
    status, found = answer(capsys, BUNDLES, "--images", "16")
    assert status == found["exit_status"] == 1
    assert {model["model"]: model["verdict"]["state"] for model in found["models"]} == STATES
    for model in found["models"]:
        assert model["verdict"]["not_looked_for"] == []
        assert model["unlike_itself"] is None, "made pictures are not compared with photographs"
        assert model["images"] == {"count": 16, "height": 32, "width": 32, "folder": None, "undecodable": []}
        assert ("dead" in model["verdict"]["does_not_apply"]) == (model["model"] == "plain20-sigmoid")


def test_what_was_not_looked_for_is_no_success(unrecorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(unrecorded), "--images", "8"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("resnet20@1: healthy, as far as was looked. ")
    assert (
        "  Dead channels were not looked for: the activations of 8 images are known, and 16 images are needed." in said
    )
    assert main(["check", str(unrecorded), "--images", "16"]) == 0


def test_a_bundle_that_cannot_show_its_channels_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(changed(tmp_path, "baseline", "activations"))]) == 1
    assert "  Dead channels were not looked for: the channels' activations" in capsys.readouterr().out


def test_the_record_of_the_training_decides_which_channels_are_dead(capsys: pytest.CaptureFixture[str]) -> None:
    """Unless there are images of one's own: made pictures know no better."""
    recorded = json.loads((BUNDLES / "resnet20" / BUNDLE_FILE).read_text())["baseline"]["dead_fraction"]
    limit = 0.9 * max(recorded.values())
    assert main(["check", str(BUNDLES / "resnet20"), "--images", "4", "--threshold", f"dead_fraction={limit}"]) == 1
    assert "training images of the bundle's record" in capsys.readouterr().out


def test_images_of_one_s_own_are_counted_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(("cat.jpg", "dog.jpg", "frog.png")):
        shutil.copy(PHOTOGRAPHS / name, tmp_path / f"{number}{Path(name).suffix}")
    (tmp_path / "3.jpg").write_bytes(b"no picture")
    status, found = answer(capsys, BUNDLES / "resnet20", "--data", tmp_path)
    (model,) = found["models"]
    assert status == 0
    assert model["images"]["count"] == 3
    assert [file["path"] for file in model["images"]["undecodable"]] == ["3.jpg"]
    assert model["unlike_itself"]["because"]
    assert main(["check", str(BUNDLES / "resnet20"), "--data", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"Looked at: 3 images of {tmp_path}; 1 file could not be decoded (3.jpg: " in said
    assert "  Beside its training: " in said


def test_one_that_cannot_be_read_keeps_no_other_from_being_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    words = ["check", str(tmp_path / "net.onnx"), "gone", str(BUNDLES / "resnet20"), "--images", "2"]
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out.startswith("resnet20@1: healthy. ")
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "empty file" in errors[0]
    assert errors[1] == f"error: there is no file or folder {Path('gone').absolute()}"


def test_flags_of_an_import_are_for_models_that_are_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(BUNDLES / "resnet20"), "--mean", "0"]) == 2
    assert "there is nothing to import" in capsys.readouterr().err
    (tmp_path / "net.onnx").write_bytes(b"")
    assert main(["check", str(BUNDLES / "resnet20"), str(tmp_path / "net.onnx"), "--mean", "0", "--images", "2"]) == 2
    assert capsys.readouterr().out.startswith("resnet20@1: healthy. "), "the bundle is judged without them"


def test_a_report_is_written_and_the_text_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", str(BUNDLES / "resnet20"), "--images", "2", "--format", "sarif", "--report"]
    assert main([*words, str(tmp_path / "gone" / "x.sarif")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "x.sarif")]) == 0
    assert capsys.readouterr().out.startswith("resnet20@1: healthy. ")
    assert json.loads((tmp_path / "x.sarif").read_text())["version"] == "2.1.0"
