"""The kinds of what is at a path, and why nothing can be served from some."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.sources.kinds import Kind, SourceError, kind_of
from tests.service.tiny_bundles import write_bundle

ROOT = Path(__file__).parents[3]
NOBODY = 65534


def file(name: str, content: bytes = b"x") -> Callable[[Path], object]:
    """Write a file below the place."""

    def write(place: Path) -> None:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)

    return write


KINDS: dict[str, tuple[Callable[[Path], object], Kind]] = {
    "an empty folder, since bundles may come later": (Path.mkdir, "bundles"),
    "a volume that is empty but for lost+found": (lambda place: (place / "lost+found").mkdir(parents=True), "bundles"),
    "a folder with a bundle": (lambda place: write_bundle(place), "bundles"),
    "a folder with versions of a bundle": (lambda place: write_bundle(place, "net", version="3"), "bundles"),
    "a bundle": (lambda place: write_bundle(place.parent, place.name), "bundle"),
    "versions of a bundle": (lambda place: write_bundle(place.parent, place.name, version="2"), "bundle"),
    "bundles beside other files": (lambda place: [write_bundle(place), file("README.md")(place)], "bundles"),
    "a file": (lambda place: place.write_bytes(b"x"), "model"),
    "a folder with a model": (file("model.onnx"), "model"),
    "a folder of a hub": (file("onnx/model.onnx"), "model"),
    "a repository of models": (file("net/1/model.onnx"), "model"),
}


@pytest.mark.parametrize("what", KINDS)
def test_a_path_is_told_by_what_is_there(tmp_path: Path, what: str) -> None:
    make, kind = KINDS[what]
    make(tmp_path / "place")
    assert kind_of(tmp_path / "place") == kind


def link_to_nothing(place: Path) -> None:
    place.mkdir()
    (place / "model.onnx").symlink_to("gone")


NOTHING: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda place: None, "there is no file or folder"),
    "a link to nothing": (lambda place: place.symlink_to("gone"), "its symbolic link leads nowhere"),
    "a folder of links to nothing": (link_to_nothing, "place/model.onnx: its symbolic link leads nowhere"),
    "an archive": (file("model.zip"), "neither a bundle nor an .onnx file, but model.zip; unpack it first"),
    "a pipe": (os.mkfifo, "neither a folder nor a plain file"),
    "pictures": (file("cat.jpg"), "neither a bundle nor an .onnx file, but cat.jpg$"),
    "weights": (file("model.safetensors"), r"but model.safetensors; export the network to ONNX first: torch\.onnx"),
    "the cache of a hub": (
        file("models--x--net/snapshots/1f/onnx/model.onnx"),
        "name one .* such as .*/models--x--net",
    ),
    "a model that is hidden": (lambda place: [file(".git/model.onnx")(place), file("a.py")(place)], "but a.py"),
}


@pytest.mark.parametrize("what", NOTHING)
def test_a_path_without_a_model_is_refused_in_a_sentence(tmp_path: Path, what: str) -> None:
    make, words = NOTHING[what]
    make(tmp_path / "place")
    with pytest.raises(SourceError, match=words) as refusal:
        kind_of(tmp_path / "place")
    assert str(tmp_path / "place") in str(refusal.value)


def test_a_path_that_cannot_be_named_or_read_is_refused_with_the_reason() -> None:
    for path, words in ((Path("a\0b"), "null"), (Path("x" * 300), "too long")):
        with pytest.raises(SourceError, match=words):
            kind_of(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user's part, which root alone can")
def test_a_folder_that_this_user_may_not_read_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o700)
    code = (
        "import os, pathlib; from service.sources.kinds import kind_of; "
        f"os.chdir({str(tmp_path)!r}); os.setuid({NOBODY}); kind_of(pathlib.Path('locked'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "locked cannot be read: Permission denied" in done.stderr
