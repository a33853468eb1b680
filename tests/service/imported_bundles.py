"""Tiny bundles of the kinds that we ship none of: independent labels, and a file of 8-bit integers."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto

from export.importing.command import import_bundle
from tests.export.importing.answer.endings import Ending
from tests.export.importing.graphs import node, options, saved
from tests.export.importing.types.coarse_file import coarse

LABELS = ("ant", "bee", "cat & mouse", "big, red dog")
"""Independent labels, with what addresses and lists must not take apart."""


def sigmoids(sharpness: float = 1.0) -> ModelProto:
    """A file that ends in a sigmoid for each of the four labels."""
    return Ending([node("Sigmoid", ["scores"], ["out"])]).model(sharpness)


def write_independent(bundles: Path, name: str, sharpness: float = 1.0) -> None:
    """Import a model of independent labels, which takes images of 6 × 6."""
    bundles.mkdir(exist_ok=True)
    import_bundle(saved(sigmoids(sharpness), bundles.parent), name, options(labels=LABELS), bundles)


def write_int8(bundles: Path, name: str) -> None:
    """Import a model of 8-bit integers, which takes images of 6 × 6 and has exclusive classes."""
    bundles.mkdir(exist_ok=True)
    import_bundle(saved(coarse(), bundles.parent), name, options(), bundles)
