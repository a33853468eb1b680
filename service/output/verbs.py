"""The verbs of a command line: listed by `--help`, one a line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import NoReturn


def list_or_refuse(
    program: str, description: str | None, summaries: Mapping[str, str], arguments: Sequence[str], version: str = ""
) -> NoReturn:
    """Answer a command line that does not begin with a verb: `--help`, `--version`, or an error that names the verbs.

    Args:
        program: what was typed before the arguments.
        summaries: each verb, and what it does in one line.
        version: what `--version` prints; without it there is no such flag.

    Raises:
        SystemExit: always; status 0 after help and version, 2 after an error.
    """
    parser = argparse.ArgumentParser(prog=program, description=description)
    if version:
        parser.add_argument("--version", action="version", version=version)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, summary in summaries.items():
        verbs.add_parser(name, help=summary)
    parser.parse_args(arguments)
    parser.error("the verb comes first")
