"""The folder of bundles under test, and its changes.

Beside the bundles as they are, there are three made of the first two:

    swapped    alternates between both nets, and is broken in three ways in between
    guest      is taken away and comes back
    fragile    its forward graph fails at run time on a picture that is white

Each is a symbolic link into a store beside the folder, so that every change is one atomic step.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bench.bundles.copies import WEIGHTS, digest_of, rename, sign
from service.contract.bundle_schema import BUNDLE_FILE

SWAPPED, GUEST, FRAGILE = "swapped", "guest", "fragile"
FORWARD = "forward.onnx"


class Folder:
    """The folder that is served, at `path`; `steady` are the names of the bundles that never change."""

    def __init__(self, bundles: Path, temporary: Path) -> None:
        self.path, self._store = temporary / "bundles", temporary / "store"
        shutil.copytree(bundles, self.path, ignore=shutil.ignore_patterns(".*"))
        self.steady = sorted(path.name for path in self.path.iterdir() if (path / BUNDLE_FILE).exists())
        one, other = (self.path / name for name in self.steady[:2])
        self._add(SWAPPED, "one", one)
        self._add(SWAPPED, "other", other)
        self._add(GUEST, "one", one)
        _fail_on_white(self._add(FRAGILE, "one", one))
        _change_a_byte(self._add(SWAPPED, "changed graph", one) / FORWARD)
        _cut_in_half(self._add(SWAPPED, "cut description", other) / BUNDLE_FILE)
        _some_weights(self._add(SWAPPED, "no weights", one)).unlink()
        for name in (SWAPPED, GUEST, FRAGILE):
            self.show(name, "one")

    def show(self, name: str, variant: str) -> None:
        """Make the bundle `name` the variant of the store from now on."""
        link = self._store / "link"
        link.symlink_to(self._store / variant / name)
        os.replace(link, self.path / name)

    def take_away(self, name: str) -> None:
        (self.path / name).unlink()

    def digest(self, name: str, variant: str) -> str:
        """Return what the service calls that variant."""
        return digest_of(self._store / variant / name)

    def _add(self, name: str, variant: str, source: Path) -> Path:
        return rename(shutil.copytree(source, self._store / variant / name))


def _change_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _cut_in_half(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _some_weights(directory: Path) -> Path:
    """Return the file with the weights of all graphs, or the forward graph where it holds its own."""
    weights = directory / WEIGHTS
    return weights if weights.exists() else directory / FORWARD


def _fail_on_white(directory: Path) -> None:
    """Add to the forward graph a Gather whose index leaves its table when some picture is all white.

    For every other picture it adds 0 to the logits.
    """
    spec = json.loads((directory / BUNDLE_FILE).read_text())["input"]
    white = min((1 - mean) / std for mean, std in zip(spec["mean"], spec["std"], strict=True))
    model = onnx.load(str(directory / FORWARD), load_external_data=False)
    graph = model.graph
    logits = next(node for node in graph.node if "logits" in node.output)
    logits.output[list(logits.output).index("logits")] = "unchecked_logits"
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == "logits":
                node.input[position] = "unchecked_logits"
    constants: dict[str, NDArray[Any]] = {
        "soak_table": np.zeros(1, np.float32),
        "soak_axes": np.array([1, 2, 3], np.int64),
        "soak_flat": np.array([-1, 1], np.int64),
        "soak_white": np.array(white - 0.01, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.node.extend(
        [
            helper.make_node("ReduceMin", ["input", "soak_axes"], ["soak_darkest"], keepdims=0),
            helper.make_node("Greater", ["soak_darkest", "soak_white"], ["soak_is_white"]),
            helper.make_node("Cast", ["soak_is_white"], ["soak_index"], to=TensorProto.INT64),
            helper.make_node("Gather", ["soak_table", "soak_index"], ["soak_nothing"]),
            helper.make_node("Reshape", ["soak_nothing", "soak_flat"], ["soak_column"]),
            helper.make_node("Add", ["unchecked_logits", "soak_column"], ["logits"]),
        ]
    )
    onnx.save(model, str(directory / FORWARD))
    sign(directory, FORWARD)
