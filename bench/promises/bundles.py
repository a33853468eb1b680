"""Bundles that are made for a measurement: a net that takes longer, and two that answer differently."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "models" / "bundles"
IMAGES = ROOT / "tests" / "images"


def enlarged(folder: Path, side: int, model: str = "resnet56", name: str = "large") -> Path:
    """`model` on pictures of `side` × `side` pixels, gradients included, as the exporter writes it into `folder`.

    The net is the shipped one: convolutions and a global average take any size. 64 × 64 pixels are
    four times the work of 32 × 32.
    """
    net = onnx.load(str(SHIPPED / model / "forward.onnx"))
    del net.graph.value_info[:]
    for dimension in net.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_value = side
    bundle = json.loads((SHIPPED / model / "bundle.json").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    source, labels = folder.parent / f"{name}.onnx", folder.parent / f"{name}.txt"
    onnx.save(net, str(source))
    labels.write_text("\n".join(bundle["labels"]))
    command = [sys.executable, "-m", "export", "onnx", str(source), "--output", "logits", "--labels", str(labels)]
    for flag in ("mean", "std"):
        command += [f"--{flag}", ",".join(map(str, bundle["input"][flag]))]
    subprocess.run([*command, "--name", name, "--out", str(folder)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return folder / name


def renamed(bundle: Path, target: Path, number: int) -> Path:
    """A copy of `bundle` called as `target` is, whose first weights differ a little from those of other `number`s."""
    shutil.copytree(bundle, target)
    weights = np.fromfile(target / "weights.bin", np.float32)
    weights[:100] *= 1 + 1e-4 * number
    weights.tofile(target / "weights.bin")
    description = json.loads((target / "bundle.json").read_text())
    description["name"] = target.name
    description["sha256"]["weights.bin"] = hashlib.sha256((target / "weights.bin").read_bytes()).hexdigest()
    (target / "bundle.json").write_text(json.dumps(description))
    return target


def with_labels_reversed(bundle: Path, target: Path) -> Path:
    """A copy of `bundle` whose every answer is another label: the list of labels, backwards."""
    shutil.copytree(bundle, target)
    description = json.loads((target / "bundle.json").read_text())
    description["labels"].reverse()
    (target / "bundle.json").write_text(json.dumps(description))
    return target


def resizing(folder: Path, model: str = "resnet20", name: str = "resizing", resize: int = 256) -> Path:
    """A copy of `model` in `folder` that resizes a picture's shorter side to `resize` pixels before it crops."""
    target = shutil.copytree(SHIPPED / model, folder / name)
    description = json.loads((target / "bundle.json").read_text())
    description["name"] = name
    description["input"]["resize"] = resize
    (target / "bundle.json").write_text(json.dumps(description))
    return target


def install(source: Path, target: Path) -> None:
    """Replaces `target` by a copy of `source` the way a deployment does: copied beside, renamed into place."""
    beside, old = target.parent / f".{target.name}.new", target.parent / f".{target.name}.old"
    shutil.copytree(source, beside)
    if target.exists():
        target.rename(old)
    beside.rename(target)
    shutil.rmtree(old, ignore_errors=True)
