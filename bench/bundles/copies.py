"""Copies of the shipped bundles with something changed, and bundles of networks that are made here."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bench.harness.paths import SHIPPED
from export.importing.command import import_bundle
from export.importing.flags.options import ImportOptions
from service.contract.bundle_schema import BUNDLE_FILE

WEIGHTS = "weights.bin"


def describe(bundle: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Change a bundle's description in place, and return the bundle."""
    document = json.loads((bundle / BUNDLE_FILE).read_text())
    change(document)
    (bundle / BUNDLE_FILE).write_text(json.dumps(document))
    return bundle


def rename(bundle: Path) -> Path:
    """Make a copied bundle call itself as its folder is called."""
    return describe(bundle, lambda document: document.update(name=bundle.name))


def sign(bundle: Path, file: str) -> None:
    """Write the checksum of a changed file into the bundle's description."""
    digest = hashlib.sha256((bundle / file).read_bytes()).hexdigest()
    describe(bundle, lambda document: document["sha256"].update({file: digest}))


def digest_of(bundle: Path) -> str:
    """Return what the service calls this very bundle."""
    return hashlib.sha256((bundle / BUNDLE_FILE).read_bytes()).hexdigest()[:12]


def distinct(bundle: Path, target: Path, number: int) -> Path:
    """Copy `bundle` to `target`, with first weights a little different from those of every other `number`."""
    shutil.copytree(bundle, target)
    weights = np.fromfile(target / WEIGHTS, np.float32)
    weights[:100] *= 1 + 1e-4 * number
    weights.tofile(target / WEIGHTS)
    sign(target, WEIGHTS)
    return rename(target)


def with_labels_reversed(bundle: Path, target: Path) -> Path:
    """Copy `bundle` with its list of labels backwards, so that every answer is another label."""
    return describe(shutil.copytree(bundle, target), lambda document: document["labels"].reverse())


def resizing(folder: Path, model: str, name: str, resize: int = 256) -> Path:
    """Copy `model` to one that resizes a picture's shorter side to `resize` pixels before it crops."""
    target = shutil.copytree(SHIPPED / model, folder / name)
    return rename(describe(target, lambda document: document["input"].update(resize=resize)))


def install(source: Path, target: Path) -> None:
    """Replace `target` by a copy of `source` as a deployment does: copied beside, renamed into place."""
    beside, old = target.parent / f".{target.name}.new", target.parent / f".{target.name}.old"
    shutil.copytree(source, beside)
    if target.exists():
        target.rename(old)
    beside.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def enlarged(folder: Path, side: int, model: str = "resnet56", name: str = "large") -> Path:
    """Write into `folder` a bundle of `model` for pictures of `side` × `side` pixels, gradients included.

    The network is the shipped one: convolutions and a global average take any size. 64 × 64 pixels are
    four times the work of 32 × 32.
    """
    net = onnx.load(str(SHIPPED / model / "forward.onnx"))
    del net.graph.value_info[:]
    for dimension in net.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_value = side
    description = json.loads((SHIPPED / model / BUNDLE_FILE).read_text())
    mean, std = (tuple(description["input"][key]) for key in ("mean", "std"))
    options = ImportOptions(tuple(description["labels"]), mean, std, output="logits")
    return imported(net, name, options, folder)


def imported(net: onnx.ModelProto, name: str, options: ImportOptions, folder: Path) -> Path:
    """Import a network as a stranger's file would be, into the bundle `folder/name`."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / f"{name}.onnx"
        onnx.save(net, str(file))
        import_bundle(file, name, options, folder)
    return folder / name
