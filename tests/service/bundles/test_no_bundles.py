"""Folders of bundles hold much that is no bundle: each is refused with its reason, and the others are served."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.bundles.folder import look_at
from service.output.printable import printable
from tests.service.bundles.steps import look, metric, predict
from tests.service.live_server import best_label, running
from tests.service.tiny_bundles import write_bundle


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        where = os.open(path.parent, os.O_RDONLY)  # a socket's own path may have 107 bytes only
        listener.bind(f"/proc/self/fd/{where}/{path.name}")
        os.close(where)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def endless(path: Path) -> None:
    path.write_bytes(b'{"name": "' + b"x" * 2**24)


def nested(path: Path) -> None:
    path.write_text("[" * 100_000)


def described(**overrides: Any) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | overrides))


REFUSED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a FIFO for its description": ("bundle.json", fifo, "bundle.json is no plain file"),
    "a socket for its description": ("bundle.json", bound_socket, "bundle.json is no plain file"),
    "a device for its description": ("bundle.json", device, "bundle.json is no plain file"),
    "a directory for its description": ("bundle.json", directory, "bundle.json is no plain file"),
    "a FIFO for its graph": ("forward.onnx", fifo, "forward.onnx is no plain file"),
    "a device for its graph": ("forward.onnx", device, "forward.onnx is no plain file"),
    "a directory for its graph": ("forward.onnx", directory, "forward.onnx is no plain file"),
    "a description without end": ("bundle.json", endless, "bundle.json has more than 16,777,216 bytes"),
    "brackets without end": ("bundle.json", nested, "bundle.json is not valid"),
    "no UTF-8": ("bundle.json", lambda path: path.write_bytes(b'{"name": "\xff"}'), "bundle.json is not valid"),
    "NUL in a file's name": (
        "bundle.json",
        described(sha256={"forward.onnx": "0", "forward\0.onnx": "0"}),
        r"'forward\\x00.onnx' is no name of a file",
    ),
    "a line break in a file's name": (
        "bundle.json",
        described(sha256={"forward.onnx": "0", "two\nlines": "0"}),
        r"'two\\nlines' is no name of a file",
    ),
    "a name longer than a file's": (
        "bundle.json",
        described(sha256={"forward.onnx": "0", "x" * 256: "0"}),
        "is no name of a file",
    ),
    "the folder above as a file": (
        "bundle.json",
        described(sha256={"forward.onnx": "0", "..": "0"}),
        "the file name '..' leads out of the bundle",
    ),
    "a line break in a field that is not known": (
        "bundle.json",
        described(**{"two\nlines": 1}),
        r"bundle.json is not valid: two\nlines",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_bundle_is_refused_with_its_reason_and_the_others_are_served(tmp_path: Path, kind: str) -> None:
    name, spoil, reason = REFUSED[kind]
    write_bundle(tmp_path, "good")
    spoil(write_bundle(tmp_path, "bad") / name)
    with running(tmp_path) as server, server.client() as client:
        assert best_label(predict(client)) == "red"
        listing = client.get("/models").json()
        assert list(listing["refused"]) == ["bad"]
        assert listing["refused"]["bad"].startswith(reason) or reason in listing["refused"]["bad"]
        assert listing["unavailable"] == {}
        assert client.get("/health/ready").status_code == 200
        shutil.rmtree(tmp_path / "bad")
        write_bundle(tmp_path, "bad")
        look(server)
        assert best_label(predict(client, "bad")) == "red"


@pytest.mark.parametrize("name", [b"no-utf8-\xff", b"two\nlines", b"tab\there", "größe".encode()])
def test_a_folder_of_any_name_breaks_no_answer(tmp_path: Path, name: bytes) -> None:
    write_bundle(tmp_path, "good")
    os.rename(write_bundle(tmp_path, "strange"), os.fsencode(tmp_path) + b"/" + name)
    with running(tmp_path) as server, server.client() as client:
        listing = client.get("/models").json()
        (shown,) = listing["refused"]
        assert shown == printable(os.fsdecode(name))
        assert "so its folder must be called strange" in listing["refused"][shown]
        assert shown in [entry["name"] for entry in client.post("/v2/repository/index").json()]
        assert metric(client, "contraflow_bundles_refused") == 1
        assert best_label(predict(client)) == "red"


def test_names_are_written_on_one_line_of_valid_unicode() -> None:
    assert printable(os.fsdecode(b"a\xffb")) == r"a\xffb"
    assert printable("two\nlines") == r"two\nlines"
    assert printable("\ud800") == r"\ud800"
    assert printable("größe") == "größe"
    assert printable("x" * 400) == "x" * 299 + "…"


def test_only_plain_digits_are_versions(tmp_path: Path) -> None:
    for version in ("2", "10"):
        write_bundle(tmp_path, "net", version=version)
    for name in ("²", "٣", "1e3", "-1", "0x1"):
        shutil.copytree(tmp_path / "net" / "2", tmp_path / "net" / name)
    assert [path.name for path in look_at(tmp_path).bundles] == ["2", "10"]
