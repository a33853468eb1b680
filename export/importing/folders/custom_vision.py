"""Azure Custom Vision's exports: `labels.txt`, `metadata_properties.json`, `cvexport.manifest`.

The picture is prepared as Custom Vision's own ONNX sample (`onnx/classification/predict.py`) does: stretched to the
network's size by Pillow's default filter, which is bicubic; channels and range are those of the `Image.*` metadata,
of the file before the folder's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export.importing.flags.errors import OptionMismatch
from export.importing.folders.image_metadata import PIXEL_FORMAT, PIXEL_RANGE, said_by_image_metadata
from export.importing.folders.stated import Said, shown

PROPERTIES = "metadata_properties.json"
MANIFEST = "cvexport.manifest"
PREFIX = "CustomVision."
NO_MEAN, NO_STD = ("[0.0, 0.0, 0.0]", "[0,0,0]", "[0, 0, 0]"), ("[1.0, 1.0, 1.0]", "[1,1,1]", "[1, 1, 1]")


def is_custom_vision(properties: Mapping[str, Any], manifest: Mapping[str, Any]) -> bool:
    return "ExporterVersion" in manifest or any(key.startswith(PREFIX) for key in properties)


def said_by_custom_vision(manifest: Mapping[str, Any]) -> Said:
    """Return how pictures are resized; OptionMismatch for a project that does not classify."""
    domain = manifest.get("DomainType", "Classification")
    if domain != "Classification":
        raise OptionMismatch(f"{MANIFEST}: the project is of {shown(domain)}, not 'Classification'")
    said = Said()
    said.state("Custom Vision's ONNX sample", resize_side=None, interpolation="bicubic")
    return said


def pixels_of_custom_vision(properties: Mapping[str, Any], metadata: Mapping[str, str]) -> Said:
    """Return channels and range; OptionMismatch for a normalization of which the sample knows nothing."""
    mean = properties.get("CustomVision.Preprocess.NormalizeMean")
    std = properties.get("CustomVision.Preprocess.NormalizeStd")
    if mean not in (None, *NO_MEAN) or std not in (None, *NO_STD):
        raise OptionMismatch(
            f"{PROPERTIES}: NormalizeMean {shown(mean)} and NormalizeStd {shown(std)} are not what Custom Vision's "
            "sample applies; say --mean and --std"
        )
    texts = {key: value for key, value in properties.items() if isinstance(value, str)}
    said = Said()
    for where, source in ((PROPERTIES, texts), ("the file's metadata", metadata)):
        said.statements |= said_by_image_metadata(source, where).statements
    if not any(key in source for key in (PIXEL_FORMAT, PIXEL_RANGE) for source in (texts, metadata)):
        said.state("Custom Vision's ONNX sample", channels="rgb", mean=(0.0,), std=(1.0,), scale=1.0)
    return said
