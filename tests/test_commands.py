"""Commands that a document, a docstring or the Makefile names can be run: their targets and modules exist."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from contraflow.__main__ import VERBS

ROOT = Path(__file__).parent.parent
FOLDERS = ("contraflow", "service", "export", "models", "bench", "deploy", "tests")
NAMING = sorted(
    [
        *ROOT.glob("*.md"),
        ROOT / "Makefile",
        *(ROOT / "docs").rglob("*.md"),
        *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")),
    ]
)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
MODULE = re.compile(rf"python -m ((?:{'|'.join(FOLDERS)})(?:\.\w+)*)")
TARGET = re.compile(r"(?:[`:] ?|^ *)make ([a-z]+(?:-[a-z]+)*)(?=[`\"]| --|,| *$| *#| [A-Z]+=)", re.MULTILINE)
"""A target between quotes, or a line that is a command: with variables, a comment or nothing behind the target."""

VERB = re.compile(r"(?:`|^ *)contraflow ([a-z]+)\b", re.MULTILINE)
"""A verb between quotes, or in a line that is a command."""


def named(pattern: re.Pattern[str]) -> dict[str, list[str]]:
    """Return the files that name each match of `pattern`."""
    found: dict[str, list[str]] = {}
    for path in NAMING:
        for name in sorted(set(pattern.findall(path.read_text(encoding="utf-8")))):
            found.setdefault(name, []).append(path.relative_to(ROOT).as_posix())
    return found


NAMED_MODULES, NAMED_TARGETS, NAMED_VERBS = named(MODULE), named(TARGET), named(VERB)


def is_runnable(module: str) -> bool:
    """Return whether `python -m module` finds something to run."""
    try:
        spec = find_spec(module)
        return spec is not None and (not spec.submodule_search_locations or find_spec(f"{module}.__main__") is not None)
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("module", NAMED_MODULES)
def test_every_module_that_is_named_can_be_run(module: str) -> None:
    assert is_runnable(module), f"{', '.join(NAMED_MODULES[module])}: python -m {module}"


@pytest.mark.parametrize("target", NAMED_TARGETS)
def test_every_target_that_is_named_exists(target: str) -> None:
    assert target in TARGETS, f"{', '.join(NAMED_TARGETS[target])}: make {target}"


@pytest.mark.parametrize("verb", NAMED_VERBS)
def test_every_verb_that_is_named_exists(verb: str) -> None:
    assert verb in {*VERBS, "version"}, f"{', '.join(NAMED_VERBS[verb])}: contraflow {verb}"
