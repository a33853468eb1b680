"""Are these models healthy? A gate for pipelines that looks at the gradients of every layer, not at the accuracy.

PATH is a bundle, a folder of bundles, an .onnx file or the folder of a model; what is no bundle is imported. The exit
status is 0 if every model is healthy and everything was looked for, 1 if there is a finding or something could not be
looked for, and 2 if a model or the images cannot be used: the worst of all models.

With --against OLD, PATH is a new version: is it better than OLD, for which images is it worse, what in it changed?
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from service.bundles.disk import BundleRefused
from service.contract.runtime.opening import Runtime
from service.contract.runtime.provider import ProviderUnavailable
from service.diagnostics.verdicts.thresholds import Thresholds
from service.diagnostics.words import plural
from service.offline.against import command as against
from service.offline.against.formats import FORMATS as FORMATS_AGAINST
from service.offline.examination import examined, images_for
from service.offline.flags import add_execution_provider, read_count
from service.offline.formats import FORMATS, in_text
from service.offline.model import PATH_HELP, OfflineModel, finished, models_at
from service.offline.outcome import UNUSABLE, Judged, Outcome, Unusable
from service.offline.reports import TEXT, add_reports, reports_of, write
from service.output.console import complain, remark, told_meanwhile
from service.output.system_errors import error_in_words
from service.sources.flags import IncompleteFlag, split_flags
from service.sources.kinds import SourceError
from service.sources.opening import flags_for

DEFAULT_IMAGES: Final = 64
QUICKLY_MEASURED: Final = 2**20
"""Pixels of all images together up to which nobody waits: a network of 18 layers takes some seconds for so many."""


def main(arguments: Sequence[str], program: str = "python -m service check") -> int:
    """Judge every model and say what was found; return the worst exit status."""
    try:
        words, import_flags = split_flags(arguments)
        options = parser(program).parse_args(words)
        if options.against is not None:
            return against.run(options, import_flags)
        against.check_unused(options)
        reports = reports_of(options, FORMATS, "a check of one version")
        thresholds = Thresholds().overridden(dict(options.threshold))
        if options.data is not None and not options.data.is_dir():
            raise ValueError(f"{options.data}: no such folder")
        flags = flags_for(options.paths, import_flags)
        runtime = Runtime(options.execution_provider)
    except (IncompleteFlag, ProviderUnavailable, SourceError, ValueError, OSError) as error:
        complain(error_in_words(error))
        return UNUSABLE
    outcomes: list[Outcome] = []
    with told_meanwhile() as tell:
        for path, its_flags in zip(options.paths, flags, strict=True):
            for outcome in outcomes_at(path, its_flags, runtime, options, thresholds):
                outcomes.append(outcome)
                if isinstance(outcome, Unusable):
                    complain(outcome.error if outcome.path in outcome.error else f"{outcome.path}: {outcome.error}")
                elif reports or options.format in (None, TEXT):
                    tell(in_text(outcome))
        if reports:
            try:
                write(reports, outcomes)
            except OSError as error:
                complain(str(error))
                return UNUSABLE
        elif options.format not in (None, TEXT):
            tell(FORMATS[options.format](outcomes).rstrip("\n"))
    return max(outcome.exit_status for outcome in outcomes)


def outcomes_at(
    path: Path, flags: Sequence[str], runtime: Runtime, options: argparse.Namespace, thresholds: Thresholds
) -> Iterator[Outcome]:
    """Yield what is found of each model at a path; one that cannot be used keeps no other from being judged."""
    try:
        folders = models_at(path, flags)
    except (SourceError, OSError) as error:
        yield _unusable(path, error)
        return
    for folder in folders:
        named = folder if len(folders) > 1 else path
        try:
            yield _judged(named, OfflineModel(folder, runtime), options, thresholds)
        except (BundleRefused, ProviderUnavailable, ValueError, OSError) as error:
            yield _unusable(named, error)


def _judged(path: Path, model: OfflineModel, options: argparse.Namespace, thresholds: Thresholds) -> Judged:
    images = images_for(model, options.data, options.images)
    said = images.said
    if said.count * said.height * said.width > QUICKLY_MEASURED:
        remark(f"{path}: measuring {plural(said.count, 'image')} of {said.height} × {said.width} pixels")
    return finished(examined(path, model, images, thresholds))


def _unusable(path: Path, error: Exception) -> Unusable:
    """Return the reason without the path, which an error of the system or of a source begins with."""
    return Unusable(path=str(path), error=error_in_words(error).removeprefix(f"{path}: "))


def parser(program: str) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog=program, description=__doc__)
    top.add_argument("paths", type=Path, nargs="+", metavar="PATH", help=PATH_HELP)
    top.add_argument(
        "--data",
        type=Path,
        help="images, best with one folder per label (default: pictures made for the check, at the model's own size)",
    )
    top.add_argument(
        "--images",
        type=read_count,
        default=DEFAULT_IMAGES,
        help=f"how many images, spread over the folder (default: {DEFAULT_IMAGES}; dead channels take 16)",
    )
    add_reports(top, list(dict.fromkeys([*FORMATS, *FORMATS_AGAINST])))
    top.add_argument(
        "--threshold",
        type=read_threshold,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a threshold other than the default (docs/reference/verdicts.md), e.g. growth_ratio=50; may be repeated",
    )
    add_execution_provider(top)
    against.add_against(top)
    return top


def read_threshold(text: str) -> tuple[str, float]:
    """Read a threshold: "growth_ratio=50" → ("growth_ratio", 50.0)."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError("a threshold is NAME=VALUE with a number") from None
