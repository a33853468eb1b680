"""`check NEW --against OLD`: is a new version better, for whom is it worse, and what in it changed?"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from service.bundles.disk import BundleRefused
from service.contract.runtime.opening import Runtime
from service.contract.runtime.provider import ProviderUnavailable
from service.diagnostics.verdicts.thresholds import Thresholds
from service.errors import NotReady
from service.offline import table as tables
from service.offline.against import table as own_tables
from service.offline.against.comparing import compared
from service.offline.against.formats import FORMATS, in_text
from service.offline.against.limits import add_limits, limits_set
from service.offline.against.measuring import files_to_compare, measure_files
from service.offline.against.served import ServedVersion, is_address
from service.offline.against.versions import LocalVersion, Version
from service.offline.asking import KEY_VARIABLE, NoAnswer, key_of
from service.offline.flags import read_count, read_shard
from service.offline.model import LabelledFile, OfflineModel, model_at
from service.offline.outcome import HEALTHY, UNUSABLE
from service.offline.reports import TEXT, reports_of, write
from service.output.console import complain, told_meanwhile
from service.output.system_errors import error_in_words
from service.sources.kinds import SourceError
from service.sources.opening import flags_for

LAYER_IMAGES: Final = 64
"""On each, both networks and up to 30 points between them are run: 100 forward runs and more."""
UNUSED: Final = {"table": None, "shard": (1, 1), "merge": None, "unlabelled": False, "layer_images": LAYER_IMAGES,
                 "key_file": None}  # fmt: skip
"""Flags that mean nothing without `--against`, with what they are where nobody sets them."""


def add_against(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a check against another version."""
    group = parser.add_argument_group(
        "against another version",
        "Compare NEW, the only PATH, with OLD on every image of --data. Every limit that is set must be kept: the exit "
        "status is 1 if one is broken. --images says on how many images the gradients of both are compared.",
    )
    group.add_argument(
        "--against",
        metavar="OLD",
        help="a bundle, an .onnx file or the folder of a model; or what a service serves: http://HOST:PORT for its "
        "default model, http://HOST:PORT#NAME@VERSION for any other",
    )
    add_limits(group)
    group.add_argument("--unlabelled", action="store_true", help="the folders' names are no labels")
    group.add_argument(
        "--table", type=_table, metavar="FILE.csv", help="keep what is measured; a run that was stopped goes on there"
    )
    group.add_argument(
        "--shard",
        type=read_shard,
        default=(1, 1),
        metavar="I/N",
        help="measure only the I-th of N parts, from 1, into --table",
    )
    group.add_argument(
        "--merge",
        type=Path,
        nargs="+",
        metavar="PART.csv",
        help="join these tables, of all parts in order; measure nothing",
    )
    group.add_argument(
        "--layer-images",
        type=read_count,
        default=LAYER_IMAGES,
        metavar="N",
        help=f"labelled images on which the change of the loss is taken apart by layer (default: {LAYER_IMAGES})",
    )
    group.add_argument(
        "--key-file", type=Path, help=f"file with the API key of the service (default: the variable {KEY_VARIABLE})"
    )


def check_unused(options: argparse.Namespace) -> None:
    """Raise ValueError if a flag is set that means nothing without `--against`."""
    given = [name for name, usual in UNUSED.items() if getattr(options, name) != usual]
    given += [flag for flag in limits_set(options) if flag != "most-new-findings"]
    if given:
        raise ValueError(f"--{given[0].replace('_', '-')} compares two versions: name the old one by --against")


def run(options: argparse.Namespace, import_flags: Sequence[str]) -> int:
    """Compare, say what was found, and return the exit status."""
    try:
        reports = reports_of(options, FORMATS, "a check against another version")
        _check_words(options)
        thresholds = Thresholds().overridden(dict(options.threshold))
        old, new = _versions(options, import_flags)
        _check_kinds(old, new)
        files = files_to_compare(options.data, old, new, options.unlabelled)
        with _table_of(options) as table:
            if options.shard != UNUSED["shard"]:
                measure_files(old, new, options.data, _part(files, options.shard), table)
                print(table)
                return HEALTHY
            if options.merge:
                own_tables.check(options.merge, old, new)
                own_tables.check_whole(options.merge, files)
                tables.merge(options.merge, table)
            else:
                measure_files(old, new, options.data, files, table)
            found = compared(old, new, options, files, table, thresholds)
            write(reports, found)
    except (
        BundleRefused, NoAnswer, NotReady, ProviderUnavailable, SourceError, ValueError, OSError
    ) as error:  # fmt: skip
        complain(error_in_words(error))
        return UNUSABLE
    with told_meanwhile() as tell:
        tell((in_text if reports else FORMATS[options.format or TEXT])(found).rstrip("\n"))
    return found.exit_status


def _table(text: str) -> Path:
    if not text.endswith(".csv"):
        raise argparse.ArgumentTypeError(f"{text!r}: a name that ends in .csv is needed")
    return Path(text)


def _check_words(options: argparse.Namespace) -> None:
    if len(options.paths) != 1:
        raise ValueError(f"--against compares one new version with an old one; {len(options.paths)} are named")
    if options.data is None:
        raise ValueError("--against needs --data FOLDER: images, best with one folder per label")
    if options.shard != UNUSED["shard"] and (options.table is None or options.merge):
        raise ValueError("--shard measures a part into --table FILE.csv; then --merge joins all parts, without --shard")
    if options.table is not None and not options.table.parent.is_dir():
        raise ValueError(f"--table {options.table}: there is no folder {options.table.parent}")


def _versions(options: argparse.Namespace, import_flags: Sequence[str]) -> tuple[Version, Version]:
    """Open the old and the new version."""
    place: str = options.against
    paths: list[Path] = [options.paths[0], *([] if is_address(place) else [Path(place)])]
    flags = flags_for(paths, import_flags)
    runtime = Runtime(options.execution_provider)
    new = _local(paths[0], flags[0], runtime)
    old = ServedVersion(place, key_of(options.key_file)) if is_address(place) else _local(paths[1], flags[1], runtime)
    return old, new


def _local(path: Path, flags: Sequence[str], runtime: Runtime) -> LocalVersion:
    folder = model_at(path, flags)
    try:
        return LocalVersion(str(path), OfflineModel(folder, runtime, needed="forward"))
    except BundleRefused as error:
        raise BundleRefused(f"{path}: {error}") from None


def _check_kinds(old: Version, new: Version) -> None:
    if old.label_kind != new.label_kind:
        words = {"exclusive": "classes that exclude each other", "independent": "independent labels"}
        raise ValueError(
            f"{old.name}@{old.version} has {words[old.label_kind]}, {new.name}@{new.version} has "
            f"{words[new.label_kind]}: their answers cannot be compared"
        )
    if not old.known & new.known:
        raise ValueError(
            f"{old.name}@{old.version} and {new.name}@{new.version} have no label in common: labels are matched by name"
        )


@contextmanager
def _table_of(options: argparse.Namespace) -> Iterator[Path]:
    """Give the table that was named, or one that is gone afterwards."""
    if options.table is not None:
        yield options.table
        return
    with tempfile.TemporaryDirectory(prefix="contraflow-check-") as folder:
        yield Path(folder) / "table.csv"


def _part(files: list[LabelledFile], shard: tuple[int, int]) -> list[LabelledFile]:
    part, parts = shard
    return files[len(files) * (part - 1) // parts : len(files) * part // parts]
