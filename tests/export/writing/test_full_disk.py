"""Bundles written to a full disk: no half bundle is left, and the one that was there before stays.

A limit on the size of files stands for a full disk.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from export.writing.bundle import replaced_whole
from tests.export.importing.graphs import classifier, saved

ROOT = Path(__file__).parents[3]
LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FULL = "cannot be written: File too large"


def export(*arguments: str, size: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python -m export` where no file can grow beyond `size` bytes."""
    return subprocess.run(
        [sys.executable, "-m", "export", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=None if size is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file under `folder`, hidden files included."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("before", [True, False], ids=["over another", "anew"])
def test_a_bundle_that_does_not_fit_is_not_half_there(tmp_path: Path, before: bool) -> None:
    (tmp_path / "labels.txt").write_text("ant\nbee\ncat\ndog\n")
    arguments = ["onnx", str(saved(classifier(), tmp_path)), "--name", "one", "--labels", str(tmp_path / "labels.txt")]
    arguments += ["--mean", "0,0,0", "--std", "1,1,1", "--out", str(tmp_path / "bundles"), "--replace"]
    if before:
        assert export(*arguments).returncode == 0
    (tmp_path / "bundles").mkdir(exist_ok=True)
    held = contents(tmp_path / "bundles")
    done = export(*arguments, size=1000)
    left = "what was there is unchanged" if before else "nothing was written"
    assert done.stderr.splitlines() == [f"error: {tmp_path / 'bundles' / 'one'} {FULL}; {left}"]
    assert done.returncode == 2
    assert contents(tmp_path / "bundles") == held
    assert [entry.name for entry in (tmp_path / "bundles").iterdir()] == (["one"] if before else [])


def test_a_record_that_does_not_fit_leaves_the_bundle_as_it_was(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models" / "bundles" / "resnet20", tmp_path / "bundles" / "resnet20")
    for split in ("train", "test"):
        for label in LABELS:
            (tmp_path / "data" / split / label).mkdir(parents=True)
            shutil.copy(ROOT / "tests" / "photographs" / f"{label}.jpg", tmp_path / "data" / split / label)
    held = contents(tmp_path / "bundles")
    bundle = tmp_path / "bundles" / "resnet20"
    done = export("record", str(bundle), "--data", str(tmp_path / "data"), size=100_000)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1] == f"error: {bundle} {FULL}; what was there is unchanged"
    assert contents(tmp_path / "bundles") == held


def test_a_bundle_that_cannot_be_put_in_place_gives_its_place_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "bundle.json").write_text("before")
    rename, places = os.replace, []

    def fails_the_second_time(source: Path, destination: Path) -> None:
        places.append(destination)
        if len(places) == 2:
            raise OSError(5, "Input/output error")
        rename(source, destination)

    monkeypatch.setattr(os, "replace", fails_the_second_time)
    with (
        pytest.raises(OSError, match=r"Input/output error; what was there is unchanged"),
        replaced_whole(tmp_path / "one") as part,
    ):
        (part / "bundle.json").write_text("after")
    assert contents(tmp_path) == {"one/bundle.json": b"before"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_table_that_cannot_be_printed_is_a_failure_and_no_finding() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "export", "list"]
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
