"""`python -m models train`: train a network of the catalogue on a data set."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

import torch

from models.networks.network import CATALOGUE, architecture
from models.training.data import load
from models.training.recipe import CAUTIONARY, PAPER, Recipe
from models.training.train import Training


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb `train`, one of them for every field of `Recipe`."""
    parser.add_argument(
        "--model", required=True, choices=CATALOGUE, metavar="NAME", help=f"one of {', '.join(CATALOGUE)}"
    )
    parser.add_argument("--data", required=True, type=Path, help="image folder, tar or zip of one, or CIFAR-10 archive")
    parser.add_argument("--data-name", default=None, help="what the record calls the data set (default: its file name)")
    parser.add_argument("--out", type=Path, default=None, help="folder of the run (default: models/runs/NAME)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice (default: %(default)s)")
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="torch device (default: cuda where it is available, else cpu)",
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's choice)")
    preset = parser.add_mutually_exclusive_group()
    preset.add_argument("--paper", action="store_true", help="the recipe of He et al. 2016, section 4.2")
    preset.add_argument("--cautionary", action="store_true", help="a short run for networks that cannot learn")
    for field in fields(Recipe):
        if field.name != "nesterov":
            kind = type(field.default)
            parser.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=kind,
                default=None,
                metavar=kind.__name__,
                help=f"replaces this number of the recipe (without a preset: {field.default})",
            )


def run(options: argparse.Namespace) -> int:
    """Run the verb `train`: train to the end and print the final errors."""
    recipe = PAPER if options.paper else CAUTIONARY if options.cautionary else Recipe()
    given = {field.name: getattr(options, field.name, None) for field in fields(Recipe)}
    recipe = replace(recipe, **{name: value for name, value in given.items() if value is not None})
    if options.threads:
        torch.set_num_threads(options.threads)
    data = load(options.data)
    record = Training(
        options.model,
        architecture(options.model),
        recipe,
        data,
        options.data_name or options.data.name,
        options.out or Path("models/runs") / options.model,
        options.seed,
        options.device,
    ).run()
    final = record["final"]
    print(f"{options.model}: train error {final['train_error']:.4f}, test error {final['test_error']:.4f}")
    return 0
