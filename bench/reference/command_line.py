"""The options of every command, from the parsers that read them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Final

from bench.reference.markdown import cell, code, listed, paragraphs, table_of
from contraflow.__main__ import VERBS
from export.__main__ import VERBS as EXPORT_VERBS
from models.__main__ import COMMANDS as MODEL_COMMANDS
from models.training.command import add_options as add_options_of_training
from service.client import explain
from service.client.replay import command as replay
from service.http.keys import making
from service.offline import check, diagnose

OF_EXPORT: Final = {"import": "onnx", "record": "record", "verify": "verify"}
"""Verbs of `contraflow` that `python -m export` has too → their names there."""

FROM_A_CLONE: Final = ("bundle", "evaluate", "rewrite", "list")
"""Verbs of `python -m export` that need a clone of the project."""


def summary() -> str:
    """Return the table of the verbs."""
    rows = [(f"[`contraflow {verb}`](#contraflow-{verb})", cell(what)) for verb, (_, _, what) in VERBS.items()]
    return table_of(("command", "what it does"), [*rows, ("`contraflow version`", "print the version")])


def commands() -> str:
    """Return a section for each verb that has options of its own; those of `serve` are the settings."""
    return "\n\n".join(block for verb in VERBS if verb != "serve" for block in _section("contraflow", verb))


def from_a_clone() -> str:
    """Return a section for each verb of `python -m export` that a clone of the project has."""
    return "\n\n".join(block for verb in FROM_A_CLONE for block in _section("python -m export", verb))


def _section(program: str, verb: str) -> Iterator[str]:
    name = f"{program} {verb}"
    parser = _parser(program, verb)
    yield f"## {name}"
    yield from paragraphs(parser.description or "")
    yield "Usage: " + code(" ".join([name, *_usage(parser)]))
    for group in parser._action_groups:
        rows = [_row(parser, action) for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        if not rows:
            continue
        if group.title not in ("positional arguments", "options"):
            yield f"**{(group.title or '').capitalize()}**" + (
                f". {cell(group.description)}" if group.description else ""
            )
        yield table_of(("argument" if group.title == "positional arguments" else "option", "meaning"), rows)
    if parser.epilog:
        yield from _epilogue(parser.epilog)


def _parser(program: str, verb: str) -> argparse.ArgumentParser:
    name = f"{program} {verb}"
    if program != "contraflow" or verb in OF_EXPORT:
        known = EXPORT_VERBS[OF_EXPORT.get(verb, verb) if program == "contraflow" else verb]
        return _filled(name, known.summary, known.add_options)
    if verb == "train":
        return _filled(name, MODEL_COMMANDS["train"][1], add_options_of_training)
    return {
        "check": check.parser,
        "diagnose": diagnose.parser,
        "explain": explain.parser,
        "replay": replay.parser,
        "key": making.parser,
    }[verb](name)


def _filled(
    name: str, description: str, add_options: Callable[[argparse.ArgumentParser], None]
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=name, description=description[0].upper() + description[1:] + ".")
    add_options(parser)
    return parser


def _usage(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield what must be given, and where options go."""
    needed = [action for action in parser._actions if action.required and action.option_strings]
    yield from (_typed(action) for action in needed)
    yield "[options]"
    for action in parser._actions:
        if not action.option_strings:
            word = action.metavar or action.dest.upper()
            yield {"+": f"{word} …", "?": f"[{word}]"}.get(str(action.nargs), str(word))


def _typed(action: argparse.Action) -> str:
    """Return an option with its value as it is typed."""
    option = action.option_strings[-1]
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        return option
    word = action.metavar or ("CHOICE" if action.choices else action.dest.upper().replace("_", "-"))
    return f"{option} {word}" + (" …" if action.nargs in ("+", "*") else "")


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str]:
    if not action.option_strings:
        return code(action.metavar or action.dest.upper()), _help(parser, action)
    if isinstance(action, argparse.BooleanOptionalAction):
        name = ", ".join(map(code, action.option_strings))
    else:
        name = ", ".join([*map(code, action.option_strings[:-1]), code(_typed(action))])
    return name, _help(parser, action) + ("; **required**" if action.required else "")


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    values = {**vars(action), "prog": parser.prog}
    text = cell((action.help or "") % values)
    if action.choices and not action.metavar:
        choices = listed([code(choice) for choice in action.choices])
        return f"{choices} ({text})" if text.startswith("default: ") else f"{choices}; {text}"
    return text


def _epilogue(text: str) -> Iterator[str]:
    """Yield the text below the options: a list of values as a table, anything else as it is."""
    first, *lines = text.splitlines()
    rows = [line.split(None, 1) for line in lines if line.strip()]
    if rows:
        yield f"**Values of `{first.strip().rstrip(':')}`**"
        yield table_of(("value", "meaning"), [(code(name), cell(meaning)) for name, meaning in rows])
    else:
        word, _, example = first.partition(": ")
        yield f"{word.capitalize()}: `{example}`"
