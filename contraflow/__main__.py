"""Serve, judge and explain any image classifier that is an ONNX file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from contraflow import __version__
from service.output.console import ended_in_words
from service.output.verbs import list_or_refuse

VERBS: Final = {
    "serve": ("service", "serve", "serve models over HTTP: predictions and gradients, with a page"),
    "check": ("service", "check", "say whether a model is healthy, or how a new version differs"),
    "diagnose": ("service", "diagnose", "score a folder of labelled images, into a table and a report"),
    "explain": ("service", "explain", "show where in a photograph the evidence for a label lies"),
    "replay": ("service", "replay", "send captured requests again, and count how the answers differ"),
    "key": ("service", "key", "make an API key, and its line for the file of keys"),
    "import": ("export", "onnx", "make a bundle of an ONNX classifier of any producer"),
    "record": ("export", "record", "measure a bundle's statistics on labelled images"),
    "verify": ("export", "verify", "verify the gradients of a bundle as it lies on disk"),
    "train": ("models", "train", "train a network on a data set (needs torch)"),
}
"""Verb → the package that does it, the package's own name for it, and what it does."""

VERSION: Final = f"contraflow {__version__}"


def main(arguments: Sequence[str] | None = None, program: str = "contraflow") -> int:
    """Run the verb that the arguments begin with, and return the exit status.

    `program` is what was typed before the arguments; usage and errors begin with it.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    return ended_in_words(lambda: run(words, program))


def run(words: Sequence[str], program: str) -> int:
    """Pass the verb on to its package; raises SystemExit for help, version and errors of the command line."""
    if words and words[0] in VERBS:
        package, verb, _ = VERBS[words[0]]
        return int(import_module(f"{package}.__main__").run(verb, words[1:], f"{program} {words[0]}"))
    if words == ["version"]:
        print(VERSION)
        return 0
    summaries = {name: summary for name, (_, _, summary) in VERBS.items()}
    return list_or_refuse(program, __doc__, {**summaries, "version": "print the version"}, words, VERSION)


if __name__ == "__main__":
    sys.exit(main(program="python -m contraflow"))
