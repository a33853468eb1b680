"""Train a network of the catalogue, or measure the phenomena that need no trained one."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path

import torch

from models.networks.network import CATALOGUE, architecture
from models.phenomena import command as phenomena
from models.phenomena import seeds
from models.training.data import load
from models.training.recipe import CAUTIONARY, PAPER, Recipe
from models.training.train import Training


def parser() -> argparse.ArgumentParser:
    """Build the command line; `train` has an option for every field of `Recipe`."""
    top = argparse.ArgumentParser(prog="python -m models", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True)
    phenomena.add_options(
        verbs.add_parser("phenomena", help="measure and draw vanishing, exploding and shattering; needs no data")
    )
    seeds.add_options(
        verbs.add_parser("seeds", help="train small nets with several seeds, for the section on degradation")
    )
    train = verbs.add_parser("train", help="train a network on images; the same command resumes an interrupted run")
    train.add_argument(
        "--model", required=True, choices=CATALOGUE, metavar="NAME", help=f"one of {', '.join(CATALOGUE)}"
    )
    train.add_argument("--data", required=True, type=Path, help="image folder, tar or zip of one, or CIFAR-10 archive")
    train.add_argument("--data-name", default=None, help="what the record calls the data set (default: its file name)")
    train.add_argument("--out", type=Path, default=None, help="folder of the run (default: models/runs/NAME)")
    train.add_argument("--seed", type=int, default=0, help="seed of every random choice (default: %(default)s)")
    train.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="torch device (default: cuda where it is available, else cpu)",
    )
    train.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's choice)")
    preset = train.add_mutually_exclusive_group()
    preset.add_argument("--paper", action="store_true", help="the recipe of He et al. 2016, section 4.2")
    preset.add_argument("--cautionary", action="store_true", help="a short run for networks that cannot learn")
    for field in fields(Recipe):
        if field.name != "nesterov":
            kind = type(field.default)
            train.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=kind,
                default=None,
                metavar=kind.__name__,
                help=f"replaces this number of the recipe (without a preset: {field.default})",
            )
    return top


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return {"phenomena": phenomena.run, "seeds": seeds.run, "train": train}[options.verb](options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def train(options: argparse.Namespace) -> int:
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


if __name__ == "__main__":
    sys.exit(main())
