"""Output that nobody reads, or that a full disk cannot take: the work is done whole, and the status says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from export.__main__ import main
from tests.export.importing.folders.producers import folder_with, network

ROOT = Path(__file__).parents[2]
PIXELS = ("--preprocessing", "unit")
VERSIONS = ["1", "2", "3"]


@pytest.fixture
def triton(tmp_path: Path) -> Path:
    folder = folder_with(tmp_path / "pets", {"config.pbtxt": 'platform: "onnxruntime_onnx"'}, network((8, 8)))
    for version in VERSIONS:
        (folder / version).mkdir()
        onnx.save(network((8, 8)), folder / version / "model.onnx")
    (folder / "model.onnx").unlink()
    return folder


@pytest.fixture
def unread() -> Iterator[int]:
    """The writing end of a pipe whose reader has gone, as that of `| head` has."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def contraflow(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "contraflow", *map(str, words)]


def versions_in(bundles: Path) -> list[str]:
    return sorted(path.parent.name for path in bundles.glob("pets/*/bundle.json"))


def test_all_versions_are_imported_though_nobody_reads_what_is_said(triton: Path, tmp_path: Path, unread: int) -> None:
    words = contraflow("import", triton, *PIXELS, "--out", tmp_path / "bundles")
    done = subprocess.run(words, cwd=ROOT, stdout=unread, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (141, "")
    assert versions_in(tmp_path / "bundles") == VERSIONS


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_all_versions_are_imported_though_the_disk_of_the_output_is_full(triton: Path, tmp_path: Path) -> None:
    words = contraflow("import", triton, *PIXELS, "--out", tmp_path / "bundles")
    with open("/dev/full", "w") as full:
        done = subprocess.run(words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: the answer cannot be written: No space left on device\n"
    assert versions_in(tmp_path / "bundles") == VERSIONS


def test_a_model_is_judged_though_nobody_reads_the_progress(tmp_path: Path, unread: int) -> None:
    onnx.save(network((8, 8)), tmp_path / "net.onnx")
    words = contraflow("check", tmp_path / "net.onnx", *PIXELS, "--images", "16")
    environment = os.environ | {"CONTRAFLOW_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=unread, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("net@1: healthy. ")


def test_a_version_that_is_refused_is_named(triton: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (triton / "2" / "model.onnx").write_bytes(b"")
    assert main(["onnx", str(triton), *PIXELS, "--out", str(tmp_path / "bundles")]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"error: version 2: {triton}/2/model.onnx: not an ONNX model")
    assert said.out.startswith(f"{tmp_path}/bundles/pets/1: 4 classes")
    assert versions_in(tmp_path / "bundles") == ["1"]
