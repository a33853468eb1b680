"""Megabytes on disk of a package and of everything that it requires."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bench.harness.paths import ROOT

BYTECODE = "__pycache__"


def megabytes(requirements: Iterable[str]) -> float:
    """Return the size in MB of the installed files, without what Python compiles from them.

    Raises:
        PackageNotFoundError: one of them, or something that it requires, is not installed.
    """
    return sum(map(_bytes, closure(requirements))) / 1e6


def closure(requirements: Iterable[str]) -> set[str]:
    """Return the names of the packages and of all that they require here.

    Raises:
        PackageNotFoundError: one is not installed.
    """
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) not in found:
                found.add((name, extra))
                required = map(Requirement, metadata.requires(name) or ())
                waiting += [each for each in required if _holds(each, extra)]
    return {name for name, _ in found}


def service() -> tuple[str, ...]:
    """Return what the whole service requires on a CPU, by pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    every = (*project["dependencies"], *project["optional-dependencies"]["cpu"])
    return tuple(str(each) for each in map(Requirement, every) if _holds(each))


def _holds(requirement: Requirement, extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def _bytes(name: str) -> int:
    files = (file.locate() for file in metadata.files(name) or () if BYTECODE not in file.parts)
    return sum(file.stat().st_size for file in files if file.is_file())  # type: ignore[attr-defined]
