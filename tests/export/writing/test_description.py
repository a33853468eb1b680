"""The description of a bundle, where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.__main__ import main


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
    if words == ["verify"]:
        reason = (
            "there is no folder" if place == "nowhere" else "is no bundle: a folder that holds bundle.json is needed"
        )
        assert reason in said
