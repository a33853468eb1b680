"""`python -m export`: bundle a trained run, import an ONNX file, verify or evaluate a bundle."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from export.graph.errors import GradientError
from service.output.console import FAILED, complain, ended_in_words

Verb = Callable[[argparse.Namespace], int]
NEGATIVE_NUMBERS = re.compile(r"-[\d.]")


def _bundle(options: argparse.Namespace) -> int:
    from export.trained.export_run import export_run
    from models.training.data import load

    bundle = export_run(options.run, options.name or options.run.name, load(options.data), options.out)
    worst = dict.fromkeys(("float32", "float64"), 0.0)
    for check in bundle.parity:
        if not check.quantity.endswith("logits"):
            worst[check.precision] = max(worst[check.precision], check.difference)
    print(
        f"{options.out / bundle.name}: {len(bundle.layers)} layers, {len(bundle.graphs)} graphs, "
        f"norms within {worst['float32']:.1e} (float32) and {worst['float64']:.1e} (float64) of torch"
    )
    return 0


def _record(options: argparse.Namespace) -> int:
    from export.statistics.record import record
    from models.training.data import load

    data = load(options.data)
    bundle = record(options.bundle, data.labels, data.train)
    separated = list(bundle.separability.nearest_mean.values()) if bundle.separability else []
    ends = f"; classes told apart: {separated[0]:.1%} at the first layer, {separated[-1]:.1%} at the last"
    print(f"{options.bundle}: recorded{ends if separated else ''}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from export.verification.recheck import recheck, table

    if options.run:
        from export.trained.export_run import verify_run

        checks = verify_run(options.run, options.bundle)
    else:
        checks = recheck(options.bundle)
    print(table(checks))
    return 0 if all(check.difference <= check.bound for check in checks) else 1


def _rewrite(options: argparse.Namespace) -> int:
    from export.statistics.evaluate import normalized
    from export.statistics.record import spread
    from export.trained.export_run import VERIFIED_IMAGES
    from export.trained.rewrite import rewrite
    from models.training.data import load
    from service.contract.bundle_schema import Bundle

    photographs = spread(load(options.data).test, VERIFIED_IMAGES).images
    for folder in options.bundles:
        spec = Bundle.model_validate_json((folder / "bundle.json").read_text()).input
        bundle = rewrite(folder, normalized(photographs, spec))
        worst = max(c.difference for c in bundle.parity if c.precision == "float32" and "logits" not in c.quantity)
        print(f"{folder}: {len(bundle.graphs)} graphs, norms within {worst:.1e} (float32) of torch", flush=True)
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from export.statistics.evaluate import evaluate
    from models.training.data import load

    data = load(options.data)
    result = evaluate(options.bundle, data.labels, data.test if options.split == "test" else data.train)
    print(
        f"{options.bundle.name}: {options.split} error {result.error:.4f}, loss {result.loss:.4f} "
        f"over {result.images} images"
    )
    return 0


def _list(options: argparse.Namespace) -> int:
    from export.bundle_table import shipped_table

    print(shipped_table(options.bundles))
    return 0


def _import(options: argparse.Namespace) -> int:
    from export.importing.command import run

    return run(options)


def _phenomena(options: argparse.Namespace) -> int:
    from export.phenomena.command import run

    return run(options)


def parser() -> argparse.ArgumentParser:
    """The command line; every verb has one function above."""
    top = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True)

    bundle = verbs.add_parser("bundle", help="a finished training run → verified bundle")
    bundle.add_argument("--run", type=Path, required=True, help="folder that `python -m models train` wrote")
    bundle.add_argument("--data", type=Path, required=True, help="the data set it was trained on")
    bundle.add_argument("--name", help="of the bundle (default: the run's folder)")
    bundle.add_argument("--out", type=Path, default=Path("models/bundles"))
    bundle.set_defaults(function=_bundle)

    record = verbs.add_parser("record", help="measure what a bundle remembers of labelled images, and write it there")
    record.add_argument("bundle", type=Path)
    record.add_argument("--data", type=Path, required=True, help="a data set with the bundle's labels; its train split")
    record.set_defaults(function=_record)

    verify = verbs.add_parser("verify", help="recompute a bundle's agreement with torch and print it")
    verify.add_argument("bundle", type=Path)
    verify.add_argument("--run", type=Path, help="training run to compare with through torch (default: without torch)")
    verify.set_defaults(function=_verify)

    again = verbs.add_parser("rewrite", help="derive the graphs of our own bundles again, and verify them")
    again.add_argument("bundles", type=Path, nargs="+")
    again.add_argument("--data", type=Path, required=True, help="data set whose test images to verify on")
    again.set_defaults(function=_rewrite)

    evaluate = verbs.add_parser("evaluate", help="error rate of a bundle on a data set, through ONNX Runtime")
    evaluate.add_argument("--bundle", type=Path, required=True)
    evaluate.add_argument("--data", type=Path, required=True)
    evaluate.add_argument("--split", choices=("test", "train"), default="test")
    evaluate.set_defaults(function=_evaluate)

    from export.phenomena.options import add_options

    phenomena = verbs.add_parser("phenomena", help="measure and draw docs/phenomena.md on the shipped bundles")
    add_options(phenomena)
    phenomena.set_defaults(function=_phenomena)

    listing = verbs.add_parser("list", help="a folder's bundles as a Markdown table")
    listing.add_argument("--bundles", type=Path, default=Path("models/bundles"))
    listing.set_defaults(function=_list)

    from export.importing.command import add_parser

    add_parser(verbs).set_defaults(function=_import)
    return top


def with_negative_values(arguments: Sequence[str]) -> list[str]:
    """`--mean -1,-1,-1` as `--mean=-1,-1,-1`: argparse takes a word that begins with a dash for an option."""
    joined: list[str] = []
    for word in arguments:
        option = joined[-1] if joined else ""
        if NEGATIVE_NUMBERS.match(word) and option.startswith("--") and "=" not in option:
            joined[-1] = f"{option}={word}"
        else:
            joined.append(word)
    return joined


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(with_negative_values(sys.argv[1:] if arguments is None else arguments))
    function: Verb = options.function

    def command() -> int:
        try:
            return function(options)
        except BrokenPipeError:
            raise
        except (GradientError, ValueError, OSError) as error:
            complain(str(error))
            return FAILED

    return ended_in_words(command)


if __name__ == "__main__":
    sys.exit(main())
