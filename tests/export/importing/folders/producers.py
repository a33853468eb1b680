"""Model folders as producers write them, around tiny networks; and pictures that show what a pipeline does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto
from PIL import Image

from export.importing.file.image import image_input
from export.importing.file.reading import parsed
from export.importing.folders.finding import find_models
from export.importing.folders.stated import facts_of
from export.importing.resolving import Resolved, flag_statements, resolve
from service.contract.bundle_schema import InputSpec
from service.images.preprocess import decode, normalise
from tests.export.importing.graphs import classifier
from tests.picture_files import png

PHOTOGRAPH = Path("tests/photographs/cat-640x480.jpg")
SIZES = ((640, 480), (217, 333), (97, 251), (45, 31), (257, 257))
"""Width and height: landscape and portrait, odd and even, large and small."""
CLASSES = ("ant", "bee", "cat", "dog")
LEVEL = 1 / 255


@cache
def picture(width: int, height: int) -> Image.Image:
    """A photograph of that size, cut out of a larger one and not resized where it is large enough."""
    with Image.open(PHOTOGRAPH) as photograph:
        whole = photograph.convert("RGB")
    if height > width:
        whole = whole.transpose(Image.Transpose.ROTATE_90)
    if width <= whole.width and height <= whole.height:
        left, top = (whole.width - width) // 2, (whole.height - height) // 2
        return whole.crop((left, top, left + width, top + height))
    return whole.resize((width, height), Image.Resampling.LANCZOS)


def network(
    size: tuple[int, int] | None = None, metadata: Mapping[str, str] | None = None, **changes: Any
) -> ModelProto:
    """A tiny classifier of four classes for pictures of any size, or of one."""
    model = classifier(image=("N", 3, *(size or ("H", "W"))), **changes)
    onnx.helper.set_model_props(model, dict(metadata or {}))
    return model


def folder_with(
    folder: Path, files: Mapping[str, Any], model: ModelProto | None = None, at: str = "model.onnx"
) -> Path:
    """Write a model folder: dicts as JSON, text as it is."""
    (folder / at).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model or network(), folder / at)
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def resolved(path: Path, **flags: Any) -> Resolved:
    found = find_models(path)[0]
    return resolve(found, facts_of(found.file, parsed(found.file)), flag_statements(flags, None, {}))


def spec_of(path: Path, **flags: Any) -> InputSpec:
    """What a bundle would state of its pictures, imported from `path`."""
    return image_input(parsed(find_models(path)[0].file), resolved(path, **flags).options).spec


def tensor(image: Image.Image, spec: InputSpec) -> NDArray[np.float32]:
    """The tensor that the service makes of a picture, [c, h, w]."""
    made: NDArray[np.float32] = normalise(decode(png(image), spec)[None], spec)[0]
    return made if spec.layout == "nchw" else made.transpose(2, 0, 1)


def in_levels(difference: NDArray[Any], spec: InputSpec) -> float:
    """The largest difference of two tensors [c, h, w], in levels of the 256 that a pixel has."""
    std = np.array(spec.std[::-1] if spec.channel_order == "bgr" else spec.std)[:, None, None]
    return float(np.abs(difference * std / spec.scale / LEVEL).max())
