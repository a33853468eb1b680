"""docs/reference/importing.md names every flag, every preset and every kind of file that an import reads."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from export.importing.flags.arguments import add_options
from export.importing.flags.presets import PRESETS
from export.importing.folders import custom_vision, hugging_face, label_files, paddle, triton

DOCUMENT = (Path(__file__).parents[3] / "docs/reference/importing.md").read_text()


def test_the_table_has_every_flag_and_no_other() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    flags = {action.option_strings[-1] for action in parser._actions if action.option_strings} - {"--help"}
    assert set(re.findall(r"`(--[a-z-]+)", DOCUMENT)) == flags


def test_the_table_has_every_preset() -> None:
    _, _, table = DOCUMENT.partition("| preset |")
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(PRESETS)


def test_every_file_that_is_read_is_named() -> None:
    files = (hugging_face.CONFIG, hugging_face.PREPROCESSOR, paddle.INFERENCE, custom_vision.PROPERTIES)
    for name in (*files, custom_vision.MANIFEST, triton.CONFIG, *label_files.NAMES):
        assert f"`{name}`" in DOCUMENT
