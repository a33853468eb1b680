"""Score a whole folder of images into a CSV table, and make an HTML report of it.

The rows are written as they are measured, so that a run that was stopped continues where it was, and memory does not
grow with the folder. `--shard I/N` takes the I-th of N consecutive parts. The tables of all parts, joined by
`--merge`, give the same report as one run.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final

from service.bundles.disk import BundleRefused
from service.contract.bundle_schema import Bundle
from service.contract.runtime.opening import Runtime
from service.contract.runtime.provider import ProviderUnavailable
from service.errors import NotReady
from service.offline import table as tables
from service.offline.flags import add_execution_provider, read_shard
from service.offline.measuring import measure_files
from service.offline.model import PATH_HELP, LabelledFile, OfflineModel, finished, labelled_files, model_at
from service.offline.report.page import render
from service.output.console import complain, remark
from service.output.printable import printable
from service.output.system_errors import error_in_words
from service.output.whole_files import replaced_file
from service.sources.flags import IncompleteFlag, split_flags
from service.sources.kinds import SourceError

MOST_NAMED: Final = 5
"""Labels and folders that a message names one by one."""
LONGEST_NAMED: Final = 40
"""Characters of each."""


def main(arguments: Sequence[str], program: str = "python -m service diagnose") -> int:
    """Measure what is missing or merge tables, then write the report; return the exit status."""
    try:
        words, import_flags = split_flags(arguments)
        options = parser(program).parse_args(words)
        table = options.out.with_suffix(".csv")
        model = OfflineModel(model_at(options.bundle, import_flags), Runtime(options.execution_provider))
        if options.merge:
            tables.check(options.merge, model.stored)
            tables.merge(options.merge, table)
        else:
            files = files_to_measure(options.data, model.bundle, options.unlabelled)
            part, parts = options.shard
            shard = files[len(files) * (part - 1) // parts : len(files) * part // parts]
            finished(measure_files(model, options.data, shard, table))
        if options.out.suffix == ".html":
            report = render(table, options.data, model, datetime.now().astimezone()).encode()
            with replaced_file(options.out) as stream:
                stream.write(report)
    except (
        BundleRefused, IncompleteFlag, NotReady, ProviderUnavailable, SourceError, ValueError, OSError
    ) as error:  # fmt: skip
        complain(error_in_words(error))
        return 2
    print(options.out)
    return 0


def _table_or_report(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".csv", ".html"):
        raise argparse.ArgumentTypeError(f"{text!r}: a name that ends in .csv or .html is needed")
    return path


def parser(program: str) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog=program, description=__doc__)
    top.add_argument("--bundle", type=Path, required=True, metavar="PATH", help=PATH_HELP)
    top.add_argument("--data", type=Path, required=True, help="images, one folder per label")
    top.add_argument("--unlabelled", action="store_true", help="the folders' names are no labels: nothing is compared")
    top.add_argument(
        "--out", type=_table_or_report, required=True, help="report.csv or report.html (with report.csv beside it)"
    )
    top.add_argument(
        "--shard", type=read_shard, default=(1, 1), metavar="I/N", help="score only the I-th of N parts, from 1"
    )
    top.add_argument(
        "--merge",
        type=Path,
        nargs="+",
        metavar="PART.csv",
        help="join these tables, of all parts in order; score nothing",
    )
    add_execution_provider(top)
    return top


def files_to_measure(folder: Path, bundle: Bundle, unlabelled: bool) -> list[LabelledFile]:
    """Return every image of the folder, with its label unless the folder is `unlabelled`; say how many have none.

    Raises:
        ValueError: there are no images, or none of them has a label although the folder is not `unlabelled`.
        OSError: the folder cannot be listed.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    files = labelled_files(folder, () if unlabelled else bundle.labels)
    if not files:
        raise ValueError(f"{folder}: no images")
    without = [file for file in files if file.label is None]
    if without and not unlabelled:
        names = dict.fromkeys(PurePosixPath(file.path).parent.name for file in without)
        if len(without) == len(files):
            raise ValueError(no_label(folder, list(names), bundle))
        remark(
            f"{len(without):,} of {len(files):,} images have no label of the model: they lie in {places(list(names))}"
        )
    return files


def no_label(folder: Path, names: list[str], bundle: Bundle) -> str:
    """Return the sentences on a folder in which no image has a label."""
    return (
        f"{printable(str(folder))}: no image has a label of {bundle.name}. The images lie in {places(names)}; the "
        f"model's labels are {listed(bundle.labels)}. Name each folder exactly like the label of its images, or say "
        "--unlabelled: then accuracy and wrong labels are not looked for"
    )


def places(names: list[str]) -> str:
    """Return in which folders images lie."""
    folders = [name for name in names if name]
    return f"folders called {listed(folders)}" if folders else "no folder of their own"


def listed(names: Iterable[str]) -> str:
    """Return the first names in quotation marks, and how many more there are."""
    every = list(names)
    first = ", ".join(repr(printable(name, LONGEST_NAMED)) for name in every[:MOST_NAMED])
    return first + (f" and {len(every) - MOST_NAMED:,} more" if len(every) > MOST_NAMED else "")
