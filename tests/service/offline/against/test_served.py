"""What a service serves as the old version, over a real socket."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.service.live_server import running
from tests.service.offline.against.altered import BUNDLES, RESNET, labelled_folder, noisy
from tests.service.offline.checked import answer, check


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_folder(tmp_path_factory.mktemp("data"))


def test_a_served_version_is_found_as_the_bundle_is(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = noisy(tmp_path / "2", 0.3, version="2")
    _, local = answer(capsys, new, "--against", RESNET, "--data", data)
    with running(BUNDLES, default_model="plain20") as server:
        status, served = answer(capsys, new, "--against", f"{server.url}#resnet20", "--data", data)
        _, default = answer(capsys, new, "--against", server.url, "--data", data)
        slow = answer(capsys, new, "--against", f"{server.url}#resnet20@1", "--data", data, "--most-slowdown", "1%")
    assert status == 0
    for name in ("flips", "by_label", "disagreements", "changed", "images"):
        assert served[name] == local[name]
    assert [one["path"] for one in served["worst"]] == [one["path"] for one in local["worst"]]
    assert served["loss"]["before"] == pytest.approx(local["loss"]["before"], rel=1e-4)
    assert served["calibration"]["before"] == pytest.approx(local["calibration"]["before"], abs=1e-4)
    assert [one["layer"] for one in served["moved"] if one["moved"]] == [
        one["layer"] for one in local["moved"] if one["moved"]
    ]
    assert served["old"]["verdict"] == local["old"]["verdict"]
    assert served["old"]["bundle"] == local["old"]["bundle"]
    assert served["old"]["bytes_on_disk"] is served["speed"] is served["loss_by_layer"] is None
    assert any(note.startswith("Speed was not measured") for note in served["notes"])
    assert any("a service does not hand out its weights" in note for note in served["notes"])
    assert default["old"]["model"] == "plain20"
    assert slow[0] == 1
    assert slow[1]["limits"][0]["state"] == "not measured"


def test_a_key_is_given_as_for_replay(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("my-secret\n")
    monkeypatch.delenv("CONTRAFLOW_API_KEY", raising=False)
    with running(BUNDLES, api_keys=(f"sha256:{hashlib.sha256(b'my-secret').hexdigest()}",)) as server:
        place = f"{server.url}#resnet20"
        assert check(RESNET, "--against", place, "--data", data) == 2
        assert "error: " in capsys.readouterr().err
        assert check(RESNET, "--against", place, "--data", data, "--key-file", tmp_path / "key") == 0
        capsys.readouterr()
        monkeypatch.setenv("CONTRAFLOW_API_KEY", "my-secret")
        status, found = answer(capsys, RESNET, "--against", place, "--data", data)
    assert status == 0
    assert found["disagreements"]["count"] == 0
    assert not any(one["moved"] for one in found["moved"])


def test_images_that_the_service_refuses_keep_no_other_from_being_compared(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes fewer in a request than are sent: they are sent again in halves."""
    with running(BUNDLES, max_images=3) as server:
        _, found = answer(capsys, RESNET, "--against", f"{server.url}#resnet20", "--data", data)
    assert found["flips"]["images"] == 20
    assert found["disagreements"]["count"] == 0
    assert found["moved"] is None
    assert any("the limit is 3" in note for note in found["notes"])


@pytest.mark.parametrize("selection", ["#gone", "#resnet20@7"])
def test_a_model_that_is_not_served_is_named(selection: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(BUNDLES) as server:
        assert check(RESNET, "--against", server.url + selection, "--data", data) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert selection.strip("#").partition("@")[0] in error


def test_a_service_that_does_not_answer_is_said_in_words(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(RESNET, "--against", "http://127.0.0.1:9", "--data", data) == 2
    assert "http://127.0.0.1:9 does not answer" in capsys.readouterr().err
