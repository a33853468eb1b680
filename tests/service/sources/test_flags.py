"""Flags of an import are told from those of the service."""

from __future__ import annotations

from argparse import Action, ArgumentParser

import pytest

from export.importing.flags.arguments import add_options
from service.settings.fields import Settings
from service.sources.flags import SWITCHES, VALUED, IncompleteFlag, names_of, split_flags

OURS = {"help", "out", "version", "replace"}
"""Flags of the import whose value is not the user's choice here."""


def flags_of_the_import() -> dict[str, Action]:
    parser = ArgumentParser()
    add_options(parser)
    actions = (action for action in parser._actions if action.option_strings)
    return {action.option_strings[-1].removeprefix("--"): action for action in actions}


def test_every_flag_of_the_import_is_known_and_no_other() -> None:
    flags = {name: action for name, action in flags_of_the_import().items() if name not in OURS}
    assert {name for name, action in flags.items() if action.nargs != 0} == VALUED
    assert {name for name, action in flags.items() if action.nargs == 0} == SWITCHES


def test_no_flag_means_two_things() -> None:
    settings = {name.replace("_", "-") for name in Settings.model_fields}
    assert not settings & (VALUED | SWITCHES)


def test_flags_of_an_import_are_taken_out_with_their_values() -> None:
    others, flags = split_flags(
        ["a.onnx", "--mean", "-1,-1,-1", "--http-port", "0", "--std=0.5", "--labels", "l.txt", "--", "--size"]
    )
    assert others == ["a.onnx", "--http-port", "0", "--", "--size"]
    assert flags == ("--mean=-1,-1,-1", "--std=0.5", "--labels=l.txt")
    assert names_of(flags) == "--mean, --std, --labels"


def test_a_flag_without_its_value_is_refused() -> None:
    with pytest.raises(IncompleteFlag, match="--mean: expected one argument"):
        split_flags(["a.onnx", "--mean"])
