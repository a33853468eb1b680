"""Make a bundle of a training run or of an ONNX file; verify, measure or list bundles."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from export.graph.errors import GradientError
from service.output.console import FAILED, complain, ended_in_words, told_meanwhile
from service.output.system_errors import error_in_words
from service.output.verbs import list_or_refuse

if TYPE_CHECKING:
    from service.contract.bundle_schema import Bundle


@dataclass(frozen=True)
class Verb:
    """A verb of the command line; its functions import what they need only when they run."""

    summary: str
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


NEGATIVE_NUMBERS = re.compile(r"-[\d.]")


def _bundle_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="folder that `python -m models train` wrote")
    parser.add_argument("--data", type=Path, required=True, help="data set that the network was trained on")
    parser.add_argument("--name", help="name of the bundle (default: that of the run's folder)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("models/bundles"),
        help="folder to write the bundle into (default: %(default)s)",
    )


def _bundle(options: argparse.Namespace) -> int:
    from export.trained.export_run import export_run
    from models.training.data import faults_of, load

    data = load(options.data)
    with faults_of(options.data):
        bundle = export_run(options.run, options.name or options.run.name, data, options.out)
    single, double = _worst_norm(bundle, "float32"), _worst_norm(bundle, "float64")
    print(
        f"{options.out / bundle.name}: {len(bundle.layers)} layers, {len(bundle.graphs)} graphs, "
        f"norms within {single:.1e} (float32) and {double:.1e} (float64) of torch"
    )
    return 0


def _record_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument(
        "--data", type=Path, required=True, help="data set with the bundle's labels; its train split is used"
    )


def _record(options: argparse.Namespace) -> int:
    from export.statistics.record import record
    from export.writing.bundle import read_description
    from models.training.data import faults_of, load

    read_description(options.bundle)  # before the images, which take their time
    data = load(options.data)
    with faults_of(options.data):
        bundle = record(options.bundle, data.labels, data.train)
    told_apart = ""
    if bundle.separability and (shares := list(bundle.separability.nearest_mean.values())):
        told_apart = f"; classes told apart: {shares[0]:.1%} at the first layer, {shares[-1]:.1%} at the last"
    print(f"{options.bundle}: recorded{told_apart}")
    return 0


def _verify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument(
        "--run", type=Path, help="training run to compare with in torch (default: verify without torch)"
    )


def _verify(options: argparse.Namespace) -> int:
    from export.verification.recheck import in_lines, recheck

    if options.run:
        from export.trained.export_run import verify_run

        checks = verify_run(options.run, options.bundle)
    else:
        checks = recheck(options.bundle)
    print(in_lines(checks))
    return 0 if all(check.difference <= check.bound for check in checks) else 1


def _rewrite_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundles", type=Path, nargs="+", help="folders of the bundles")
    parser.add_argument("--data", type=Path, required=True, help="data set on whose test images to verify")


def _rewrite(options: argparse.Namespace) -> int:
    from export.statistics.evaluate import normalized
    from export.statistics.record import spread
    from export.trained.export_run import VERIFIED_IMAGES
    from export.trained.rewrite import rewrite
    from export.writing.bundle import read_description
    from models.training.data import faults_of, load

    photographs = spread(load(options.data).test, VERIFIED_IMAGES).images
    with told_meanwhile() as tell:
        for folder in options.bundles:
            description = read_description(folder)
            with faults_of(options.data):
                images = normalized(photographs, description.input)
            bundle = rewrite(folder, images)
            worst = _worst_norm(bundle, "float32")
            tell(f"{folder}: {len(bundle.graphs)} graphs, norms within {worst:.1e} (float32) of torch")
    return 0


def _worst_norm(bundle: Bundle, precision: str) -> float:
    """Return the largest difference to torch of everything but logits."""
    norms = (check for check in bundle.parity if not check.quantity.endswith("logits"))
    return max((check.difference for check in norms if check.precision == precision), default=0.0)


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--data", type=Path, required=True, help="data set with the bundle's labels")
    parser.add_argument(
        "--split", choices=("test", "train"), default="test", help="images to use (default: %(default)s)"
    )


def _evaluate(options: argparse.Namespace) -> int:
    from export.statistics.evaluate import evaluate
    from export.writing.bundle import read_description
    from models.training.data import faults_of, load

    read_description(options.bundle)  # before the images, which take their time
    data = load(options.data)
    with faults_of(options.data):
        result = evaluate(options.bundle, data.labels, data.test if options.split == "test" else data.train)
    print(
        f"{options.bundle.name}: {options.split} error {result.error:.4f}, loss {result.loss:.4f} "
        f"over {result.images} images"
    )
    return 0


def _list_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundles", type=Path, default=Path("models/bundles"), help="folder of bundles (default: %(default)s)"
    )


def _list(options: argparse.Namespace) -> int:
    from export.bundle_table import bundle_table

    print(bundle_table(options.bundles))
    return 0


def _import_options(parser: argparse.ArgumentParser) -> None:
    from export.importing.flags.arguments import add_options

    add_options(parser)


def _import(options: argparse.Namespace) -> int:
    from export.importing.command import run

    return run(options)


def _phenomena_options(parser: argparse.ArgumentParser) -> None:
    from export.phenomena.options import add_options

    add_options(parser)


def _phenomena(options: argparse.Namespace) -> int:
    from export.phenomena.command import run

    return run(options)


VERBS: Final = {
    "bundle": Verb("make a verified bundle of a finished training run", _bundle_options, _bundle),
    "record": Verb(
        "measure a bundle's statistics on labelled images, and write them into it", _record_options, _record
    ),
    "verify": Verb("verify a bundle as it lies on disk", _verify_options, _verify),
    "rewrite": Verb(
        "derive the graphs of bundles of our own networks again, and verify them", _rewrite_options, _rewrite
    ),
    "evaluate": Verb("measure a bundle's error rate on a data set, through ONNX Runtime", _evaluate_options, _evaluate),
    "phenomena": Verb("measure and draw reports/phenomena.md on the shipped bundles", _phenomena_options, _phenomena),
    "list": Verb("list a folder's bundles as a Markdown table", _list_options, _list),
    "onnx": Verb("import an ONNX image classifier of any producer as a bundle", _import_options, _import),
}


def with_negative_values(arguments: Sequence[str]) -> list[str]:
    """Join `--mean -1,-1,-1` to `--mean=-1,-1,-1`, because argparse takes a word with a leading dash for an option."""
    joined: list[str] = []
    for word in arguments:
        option = joined[-1] if joined else ""
        if NEGATIVE_NUMBERS.match(word) and option.startswith("--") and "=" not in option:
            joined[-1] = f"{option}={word}"
        else:
            joined.append(word)
    return joined


def main(arguments: Sequence[str] | None = None, program: str = "python -m export") -> int:
    """Run the verb that the arguments begin with; `program` is what was typed before them."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words and words[0] in VERBS:
        return run(words[0], words[1:], f"{program} {words[0]}")
    return list_or_refuse(program, __doc__, {name: verb.summary for name, verb in VERBS.items()}, words)


def run(name: str, arguments: Sequence[str], program: str) -> int:
    """Run one of `VERBS` and return the exit status; `program` is what was typed for the verb."""
    verb = VERBS[name]

    def command() -> int:
        parser = argparse.ArgumentParser(prog=program, description=verb.summary)
        verb.add_options(parser)
        options = parser.parse_args(with_negative_values(arguments))
        try:
            return verb.run(options)
        except BrokenPipeError:
            raise
        except (GradientError, ValueError, OSError) as error:
            complain(error_in_words(error))
            return FAILED

    return ended_in_words(command)


if __name__ == "__main__":
    sys.exit(main())
