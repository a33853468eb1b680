"""Two versions of a shipped network in one folder, the second altered in a way that a test can predict."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "models" / "bundles"
PHOTOGRAPHS = {path.stem: path.read_bytes() for path in sorted((ROOT / "service" / "static" / "samples").glob("*.jpg"))}
CAT, DOG = 3, 5

Weight = NDArray[np.float32]


def exchange_cat_and_dog(weight: Weight) -> None:
    """Give each of two classes the classifier's weights of the other."""
    weight[[CAT, DOG]] = weight[[DOG, CAT]]


def two_versions(
    folder: Path,
    change: Callable[[Weight], None] = exchange_cat_and_dog,
    layer: str = "classifier",
    **description: Any,
) -> Path:
    """Write resnet20 as versions 1 and 2, the second with one layer's weight changed in place, and return `folder`."""
    for version in ("1", "2"):
        bundle = shutil.copytree(SHIPPED / "resnet20", folder / "resnet20" / version)
        described: dict[str, Any] = json.loads((bundle / "bundle.json").read_text()) | {"version": version}
        if version == "2":
            described["sha256"]["weights.bin"] = _changed(bundle, f"{layer}.weight", change)
            described |= description
        (bundle / "bundle.json").write_text(json.dumps(described))
    return folder


def _changed(bundle: Path, name: str, change: Callable[[Weight], None]) -> str:
    """Change a weight of the graph in the file that all graphs read, and return the file's checksum."""
    graph = onnx.load(str(bundle / "forward.onnx"), load_external_data=False).graph
    (tensor,) = [one for one in graph.initializer if one.name == name]
    offset = next(int(entry.value) for entry in tensor.external_data if entry.key == "offset")
    file = bundle / "weights.bin"
    content = bytearray(file.read_bytes())
    weight = np.frombuffer(content, np.float32, int(np.prod(tensor.dims)), offset).reshape(tuple(tensor.dims))
    change(weight)
    file.write_bytes(content)
    return hashlib.sha256(content).hexdigest()
