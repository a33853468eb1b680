"""The change of the loss by layer, between two files of one architecture and where it does not apply."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from service.__main__ import main
from tests.export.importing.folders.producers import CLASSES, network
from tests.service.offline.against.altered import PHOTOGRAPHS


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classifiers that differ in the bias of the last layer, and photographs that are called by chance."""
    monkeypatch.setenv("CONTRAFLOW_CACHE", str(tmp_path / "cache"))
    for number, photograph in enumerate(sorted(PHOTOGRAPHS.glob("*2.jpg"))):
        label = CLASSES[number % len(CLASSES)]
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(photograph, tmp_path / "data" / label / photograph.name)
    (tmp_path / "classes").write_text("\n".join(CLASSES))
    onnx.save(network((8, 8)), tmp_path / "old.onnx")
    bias = np.array([0.5, -0.5, 0.25, 0.0], np.float32)
    onnx.save(network((8, 8), constants={"head.bias": bias}), tmp_path / "new.onnx")
    return tmp_path


def found_of(place: Path, capsys: pytest.CaptureFixture[str], new: str, *words: str) -> dict[str, Any]:
    flags = ["--labels", str(place / "classes"), "--mean", "0.5", "--std", "0.25"]
    files = ["check", str(place / new), "--against", str(place / "old.onnx"), "--data", str(place / "data")]
    main([*files, *flags, "--format", "json", *words])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_altered_layer_has_all_of_the_change(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = found_of(place, capsys, "new.onnx")
    by_layer, loss = found["loss_by_layer"], found["loss"]
    assert by_layer["images"] == found["flips"]["images"] == 10
    assert by_layer["measured"] == pytest.approx(loss["now"] - loss["before"], abs=1e-5)
    assert abs(by_layer["measured"]) > 1e-3
    assert by_layer["is_complete"]
    assert [one["layer"] for one in by_layer["layers"]] == ["head"]
    assert by_layer["layers"][0]["change"] == pytest.approx(by_layer["measured"], rel=0.01)


def test_it_is_measured_on_as_many_images_as_are_asked_for(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found_of(place, capsys, "new.onnx", "--layer-images", "4")["loss_by_layer"]["images"] == 4


def test_nothing_changed_between_equal_versions(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_layer = found_of(place, capsys, "old.onnx")["loss_by_layer"]
    assert by_layer["layers"] == []
    assert by_layer["measured"] == by_layer["total"] == 0
    assert by_layer["because"] == "No number of the network differs."


def test_it_needs_labels(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = found_of(place, capsys, "new.onnx", "--unlabelled")
    assert found["loss_by_layer"] is None
    assert "The change of the loss was not taken apart by layer: no image has a label." in found["notes"]
