"""Train a network of the catalogue, or measure the phenomena that need no trained one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

COMMANDS: Final = {
    "deeper": ("models.phenomena.deeper", "keep the records of runs too deep to ship, for the section on degradation"),
    "phenomena": ("models.phenomena.command", "measure and draw vanishing, exploding and shattering; needs no data"),
    "recipes": ("models.training.comparison", "compare the options of the training recipe, each alone"),
    "seeds": ("models.phenomena.seeds", "train small nets with several seeds, for the section on degradation"),
    "train": ("models.training.command", "train a network on images; the same command resumes an interrupted run"),
}
"""Verb → the module that has its options and runs it, and what it does."""


def main(arguments: Sequence[str] | None = None, program: str = "python -m models") -> int:
    """Run the verb that the arguments begin with; `program` is what was typed before them."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words and words[0] in COMMANDS:
        return run(words[0], words[1:], f"{program} {words[0]}")
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for name, (_, summary) in COMMANDS.items():
        verbs.add_parser(name, help=summary)
    parser.parse_args(words)
    return parser.error("the verb comes first")


def run(verb: str, arguments: Sequence[str], program: str) -> int:
    """Run one of `COMMANDS` and return the exit status; `program` is what was typed for the verb."""
    module, summary = COMMANDS[verb]
    try:
        command = import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "models":
            raise
        print(f"error: {error.name} is not installed: pip install 'contraflow[train]'", file=sys.stderr)
        return 2
    parser = argparse.ArgumentParser(prog=program, description=summary)
    command.add_options(parser)
    options = parser.parse_args(arguments)
    try:
        return int(command.run(options))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
