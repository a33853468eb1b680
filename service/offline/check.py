"""Is this model healthy? The verb `check`, meant for pipelines.

PATH is a bundle, an .onnx file or the folder of a model; what is no bundle is imported. Prints the verdict in words.
The exit status is 0 if the model is healthy, 1 if there is a finding or no verdict is possible, and 2 if the model or
the images cannot be used.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from service.bundles.disk import BundleRefused
from service.contract.runtime import ProviderUnavailable, Runtime
from service.diagnostics.gradients import Diagnosis, diagnose
from service.diagnostics.measurement import measure_gradients
from service.diagnostics.quantized import about_network
from service.diagnostics.verdicts.thresholds import Thresholds
from service.images.errors import ImageError
from service.offline.model import PATH_HELP, OfflineModel, decoded, finished, labelled_files, labels_of, model_at
from service.output.console import complain
from service.output.system_errors import error_in_words
from service.sources.flags import IncompleteFlag, split_flags
from service.sources.kinds import SourceError

SHIPPED_IMAGES: Final = Path(__file__).parents[1] / "static" / "samples"
DEFAULT_IMAGES: Final = 64


def main(arguments: Sequence[str], program: str = "python -m service check") -> int:
    """Measure the model and print the verdict; return the exit status."""
    try:
        words, import_flags = split_flags(arguments)
        options = parser(program).parse_args(words)
        thresholds = Thresholds().overridden(dict(options.threshold))
        if not options.data.is_dir():
            raise ValueError(f"{options.data}: no such folder")
        model = OfflineModel(model_at(options.path, import_flags), Runtime(options.execution_provider))
        found = finished(examine(model, options.data, options.images, thresholds))
        if found is None:
            raise ValueError(f"{options.data}: no image in it can be decoded")
    except (BundleRefused, ProviderUnavailable) as error:
        complain(f"{options.path}: {error}")
        return 2
    except (IncompleteFlag, SourceError, ValueError, OSError) as error:
        complain(error_in_words(error))
        return 2
    print(in_words(model, found, options.data))
    return 0 if found.diagnosis.verdict.state == "healthy" else 1


def parser(program: str) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog=program, description=__doc__)
    top.add_argument("path", type=Path, metavar="PATH", help=PATH_HELP)
    top.add_argument(
        "--data",
        type=Path,
        default=SHIPPED_IMAGES,
        help="images, best with one folder per label (default: the shipped samples)",
    )
    top.add_argument(
        "--images",
        type=read_count,
        default=DEFAULT_IMAGES,
        help=f"how many images, spread over the folder (default: {DEFAULT_IMAGES})",
    )
    top.add_argument(
        "--threshold",
        type=read_threshold,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a threshold other than the default (docs/verdicts.md), e.g. growth_ratio=50; may be repeated",
    )
    top.add_argument("--execution-provider", choices=("auto", "cpu", "cuda"), default="auto")
    return top


def read_count(text: str) -> int:
    """Read a number of images, which is 1 or more."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: a positive whole number is needed")
    return int(text)


def read_threshold(text: str) -> tuple[str, float]:
    """Read a threshold: "growth_ratio=50" → ("growth_ratio", 50.0)."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise argparse.ArgumentTypeError("a threshold is NAME=VALUE with a number") from None


@dataclass(frozen=True)
class Examination:
    """A diagnosis, how many images it is of, and for an int8 model which network it is of."""

    diagnosis: Diagnosis
    images: int
    about_network: str | None


async def examine(model: OfflineModel, folder: Path, count: int, thresholds: Thresholds) -> Examination | None:
    """Diagnose up to `count` images spread over `folder`; None where no image can be decoded.

    Raises:
        ValueError, OSError: there is no image, or the folder cannot be listed.
    """
    files = labelled_files(folder, model.bundle.labels)
    if not files:
        raise ValueError(f"{folder}: there is no image in it")
    chosen = [files[row] for row in np.linspace(0, len(files) - 1, min(count, len(files))).astype(int)]
    pairs = [
        (pixels, file)
        for pixels, file in zip(decoded(folder, chosen, model), chosen, strict=True)
        if not isinstance(pixels, ImageError)
    ]
    if not pairs:
        return None
    pixels = np.stack([pixels for pixels, _ in pairs])
    labels = labels_of([file for _, file in pairs], model.bundle)
    measured = await measure_gradients(model.run, model.bundle, pixels, labels)
    diagnosis = diagnose(model.bundle, measured, thresholds)
    said = await about_network(model.run, model.bundle, pixels, diagnosis.samples)
    return Examination(diagnosis, len(pairs), said)


def in_words(model: OfflineModel, found: Examination, folder: Path) -> str:
    """Return the verdict, every finding once, and how the model compares with its own record."""
    diagnosis, verdict = found.diagnosis, found.diagnosis.verdict
    name = f"{model.bundle.name}@{model.bundle.version} ({model.stored.digest})"
    lines = [f"{name}: {verdict.state}, on {found.images} images of {folder.name}"]
    lines += [f"  {one.finding}: {one.because}" for one in verdict.findings] or [f"  {verdict.because}"]
    lines += [f"  {verdict.meaning}", f"  {' '.join(verdict.advice)} ({verdict.link})"]
    if found.about_network is not None:
        lines.append(f"  {found.about_network}")
    if diagnosis.unlike_itself:
        lines.append(
            f"  {'unlike' if diagnosis.unlike_itself.unlike else 'like'} itself: {diagnosis.unlike_itself.because}"
        )
    return "\n".join(lines)
