"""A file of labels, as editors and tools of all systems write it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.importing import OptionMismatch
from export.importing.flags.labels import read_labels

FIVE = ("ant", "bee", "größe", "d,o g", "猫")
TEXT = "\n".join(FIVE)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "labels.txt"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.encode() + b"\n\n \n",
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        "\n".join(f"  {label}\t" for label in FIVE).encode(),
        json.dumps(FIVE).encode(),
        json.dumps({str(number): label for number, label in reversed(list(enumerate(FIVE)))}).encode("utf-8-sig"),
        json.dumps({"model_type": "vit", "id2label": dict(enumerate(FIVE))}).encode(),
    ],
    ids=[
        *(
            "plain",
            "blank lines at the end",
            "CRLF",
            "CR",
            "UTF-8 with a mark",
            "UTF-16",
            "UTF-16 big-endian",
            "UTF-32",
        ),
        *("spaces around", "JSON list", "JSON map in another order", "transformers' config.json"),
    ],
)
def test_labels_are_read(tmp_path: Path, content: bytes) -> None:
    assert read_labels(written(tmp_path, content)) == FIVE


def test_lines_that_begin_with_a_bracket_are_labels(tmp_path: Path) -> None:
    assert read_labels(written(tmp_path, b"[background]\n{other}\n")) == ("[background]", "{other}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"ant\nbee\n\ndog\n", "line 3 is empty"),
        (b"\nant\nbee", "line 1 is empty"),
        (b"\xef\xbb\xbf\nant\nbee", "line 1 is empty"),
        (b"ant\nbee\ncat\nbee \n", "lines 2 and 4 are both 'bee'"),
        (b'["ant", "bee", "ant"]', "entries 1 and 3 are both 'ant'"),
        (b"ant\n", "it holds one label; two or more are needed"),
        (b"", "it holds no label"),
        (b"ant\nb\xe9e\ncat", "line 2 is not UTF-8"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "line 1 is not UTF-8"),
        (b"ant\0bee\ncat", "not a text file"),
        (b'{"0": "ant", "2": "bee"}', 'from "0" to "1"'),
        (b'[["ant"], ["bee"]]', "a list of labels"),
        (b"[1, 2]", "a list of labels"),
    ],
)
def test_a_file_that_is_unfit_is_told_where(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(OptionMismatch) as caught:
        read_labels(written(tmp_path, content))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(OptionMismatch, match="No such file"):
        read_labels(tmp_path / "none.txt")
    with pytest.raises(OptionMismatch, match="Is a directory"):
        read_labels(tmp_path)
