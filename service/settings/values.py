"""Types of settings: how the text of a variable or flag becomes a value, and which values are refused."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?:@[0-9]{1,9})?")
"""Name of a bundle, with or without a version."""

KEY_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


def _none_if_empty(value: Any) -> Any:
    return value or None  # an empty variable counts as not set


def _none_if_unset(value: Any) -> Any:
    return None if value == "" else value  # 0 is a value


def _only_a_name(value: str | None) -> str | None:
    if value and not MODEL.fullmatch(value):
        raise ValueError(f"{value!r} is neither a bundle's name nor name@version")
    return value


def _split_paths(value: Any) -> Any:
    if isinstance(value, str):
        value = tuple(value.split(os.pathsep))
    if "" in value:
        raise ValueError("a path is needed")  # Path("") would be the working directory
    return value


def _split_list(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _only_digests(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(KEY_DIGEST.fullmatch(digest) for digest in value):
        raise ValueError("each key is given as sha256:<64 hexadecimal digits>, e.g. by `printf %s KEY | sha256sum`")
    if len(set(value)) != len(value):
        raise ValueError("a key is given twice")
    return value


OptionalPath = Annotated[Path | None, BeforeValidator(_none_if_empty)]

OptionalPort = Annotated[int | None, BeforeValidator(_none_if_unset), Field(ge=0, le=65535)]

ModelName = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_only_a_name)]
"""name, name@version, or None."""

Paths = Annotated[tuple[Path, ...], BeforeValidator(_split_paths)]
"""Paths, separated as in `PATH`."""

Words = Annotated[tuple[str, ...], BeforeValidator(_split_list)]
"""Words, separated by commas."""

Digests = Annotated[Words, AfterValidator(_only_digests)]
"""Digests of keys, each once."""
