"""The name of a model that nobody has named: from the path of its file or folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

GENERIC: Final = re.compile(
    r"model([._-].*)?|forward|best|weights|onnx|inference|saved_model|snapshots|[0-9]+|[0-9a-f]{40}", re.IGNORECASE
)
"""Names of files and folders that name no model."""
LONGEST: Final = 64
UNNAMED: Final = "model"


def fit_name(text: str) -> str:
    """Make a text fit to be the name of a bundle; empty where nothing of it is."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:LONGEST]


def name_of(path: Path) -> str:
    """Return what to call the model at a path: the name of its file, or of the first folder above that says more."""
    place = Path(os.path.abspath(path))
    for name in (place.name if place.is_dir() else place.stem, *(folder.name for folder in place.parents)):
        fit = fit_name(name.rpartition("--")[2])  # models--owner--name, in the cache of a hub
        if fit and not GENERIC.fullmatch(fit):
            return fit
    return UNNAMED
