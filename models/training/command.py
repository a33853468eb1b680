"""`python -m models train`: train networks of the catalogue on a data set."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from models.networks.network import CATALOGUE, architecture
from models.training.data import DataSet, Split, faults_of, hold_out, load
from models.training.recipe import CAUTIONARY, CHOICES, PAPER, Recipe
from models.training.train import Training


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb `train`, one of them for every field of `Recipe`."""
    parser.add_argument(
        "--model",
        required=True,
        nargs="+",
        choices=CATALOGUE,
        metavar="NAME",
        help=f"networks to train in turn, of {', '.join(CATALOGUE)}",
    )
    parser.add_argument("--data", required=True, type=Path, help="image folder, tar or zip of one, or CIFAR-10 archive")
    parser.add_argument("--data-name", default=None, help="what the record calls the data set (default: its file name)")
    parser.add_argument(
        "--out",
        type=Path,
        default=None,
        help="folder of the run, or of several networks' runs, each in its NAME (default: models/runs/NAME)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default: %(default)s)")
    add_device(parser)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's choice)")
    preset = parser.add_mutually_exclusive_group()
    preset.add_argument("--paper", action="store_true", help="the recipe of He et al. 2016, section 4.2")
    preset.add_argument("--cautionary", action="store_true", help="a short run for networks that cannot learn")
    parser.add_argument(
        "--hold-out",
        type=int,
        default=0,
        metavar="N",
        help="train without N of the training images, and record the error on them (default: %(default)s)",
    )
    for field in fields(Recipe):
        kind = type(field.default)
        option: dict[str, Any] = {"type": kind, "metavar": kind.__name__}
        if kind is bool:
            option = {"action": argparse.BooleanOptionalAction}
        elif field.name in CHOICES:
            option = {"choices": CHOICES[field.name]}
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            default=None,
            help=f"replaces this part of the recipe (without a preset: {field.default})",
            **option,
        )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option `--device` of all verbs that train."""
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="torch device (default: cuda where it is available, else cpu)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb `train`: train each network in turn; return 1 if one of several failed."""
    recipe = PAPER if options.paper else CAUTIONARY if options.cautionary else Recipe()
    given = {field.name: getattr(options, field.name, None) for field in fields(Recipe)}
    recipe = replace(recipe, **{name: value for name, value in given.items() if value is not None})
    if options.threads:
        torch.set_num_threads(options.threads)
    data, held_out = load(options.data), None
    if options.hold_out:
        with faults_of(options.data):
            data, held_out = hold_out(data, options.hold_out)
    if len(options.model) == 1:
        _train(options, options.model[0], options.out, recipe, data, held_out)
        return 0
    failed = 0
    for model in options.model:
        try:
            _train(options, model, options.out and options.out / model, recipe, data, held_out)
        except (ValueError, OSError, RuntimeError) as error:  # the other networks do not depend on this one
            print(f"error: {model}: {error}", file=sys.stderr, flush=True)
            failed = 1
    return failed


def _train(
    options: argparse.Namespace, model: str, folder: Path | None, recipe: Recipe, data: DataSet, held_out: Split | None
) -> None:
    """Train one network and print its final errors."""
    record = Training(
        model,
        architecture(model),
        recipe,
        data,
        options.data_name or options.data.name,
        folder or Path("models/runs") / model,
        options.seed,
        options.device,
        held_out,
    ).run()
    final = record["final"]
    held = f", held-out error {record['held_out']['error']:.4f}" if held_out is not None else ""
    print(f"{model}: train error {final['train_error']:.4f}{held}, test error {final['test_error']:.4f}", flush=True)
