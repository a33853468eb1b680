"""Flags of an import (`python -m export onnx`), told from the other words of a command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

VALUED: Final = frozenset({
    "name", "file", "output", "labels", "labels-are", "preprocessing", "mean", "std", "scale", "channels", "layout",
    "size", "resize", "crop-fraction", "crop", "fill", "interpolation",
})  # fmt: skip
"""Flags with a value. A test compares them with those that the import takes."""
SWITCHES: Final = frozenset({"letterbox", "no-antialias"})
"""Flags without one."""
OF_ONE: Final = frozenset({"name"})
"""Flags that cannot be meant for several models."""


class IncompleteFlag(Exception):
    """A flag of an import has no value; the message says which."""


def split_flags(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """Return the words that are not for an import, and the import's flags, each with its value as --flag=value.

    Raises:
        IncompleteFlag: the command line ends, or another flag follows, where a value is needed.
    """
    others: list[str] = []
    flags: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, _ = word.removeprefix("--").partition("=")
        if word == "--":
            others += [word, *words]
        elif word.startswith("--") and name in VALUED:
            flags.append(word if equals else f"{word}={_value(word, next(words, None))}")
        elif word.startswith("--") and name in SWITCHES:
            flags.append(word)
        else:
            others.append(word)
    return others, tuple(flags)


def _value(flag: str, word: str | None) -> str:
    if word is None or word.startswith("--"):
        raise IncompleteFlag(f"argument {flag}: expected one argument")
    return word


def names_of(flags: Sequence[str]) -> str:
    """Return the flags without their values, for a message."""
    return ", ".join(flag.partition("=")[0] for flag in flags)


def are_for_several(flags: Sequence[str]) -> bool:
    """Tell whether no flag is one that only a single model may have."""
    return not any(flag.removeprefix("--").partition("=")[0] in OF_ONE for flag in flags)


def files_among(flags: Sequence[str]) -> list[Path]:
    """Return the values of flags that are files, such as a list of labels."""
    values = (Path(value) for _, _, value in (flag.partition("=") for flag in flags) if value)
    return [path for path in values if path.is_file()]
