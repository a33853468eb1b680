"""The folder in which the code of a page runs.

It has what a reader has who follows the page in a clone, or beside it: `classifier.onnx` and `new.onnx` (the network of
`resnet20` as a file that says nothing of its labels), `old.onnx` (that of `plain20`), `plain20-sigmoid.onnx`,
`labels.txt`, `cat.jpg` and other photographs, `validation/<label>/*.jpg`, the data set `data/train/<label>/*.jpg` and
`data/test/<label>/*.jpg`, and the folders `models/bundles`, `deploy` and `tests/photographs` of the clone.
"""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from service.bundles.disk import read_bundle
from tests.docs.pages import ROOT

BUNDLES: Final = ROOT / "models" / "bundles"
PHOTOGRAPHS: Final = ROOT / "tests" / "photographs"


def furnish(folder: Path) -> None:
    """Put the files that pages name into `folder`."""
    (folder / "models").mkdir()
    (folder / "models" / "bundles").symlink_to(BUNDLES)
    (folder / "tests").mkdir()
    (folder / "tests" / "photographs").symlink_to(PHOTOGRAPHS)
    (folder / "deploy").symlink_to(ROOT / "deploy")
    for name in ("classifier.onnx", "new.onnx"):
        (folder / name).write_bytes(_file_of("resnet20"))
    (folder / "old.onnx").write_bytes(_file_of("plain20"))
    (folder / "plain20-sigmoid.onnx").write_bytes(_file_of("plain20-sigmoid"))
    labels = read_bundle(BUNDLES / "resnet20").bundle.labels
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    for label in labels:
        (folder / "validation" / label).mkdir(parents=True)
        for photograph in (f"{label}.jpg", f"{label}2.jpg"):
            shutil.copy(PHOTOGRAPHS / photograph, folder / "validation" / label)
            shutil.copy(PHOTOGRAPHS / photograph, folder)
        for split, photograph in (("train", f"{label}2.jpg"), ("test", f"{label}.jpg")):
            (folder / "data" / split / label).mkdir(parents=True)
            shutil.copy(PHOTOGRAPHS / photograph, folder / "data" / split / label)


@cache
def _file_of(bundle: str) -> bytes:
    """Return the network of a shipped bundle as one file, as an exporter would write it: RGB in [0, 1] → scores."""
    model = onnx.load(BUNDLES / bundle / "forward.onnx")
    graph = model.graph
    wanted = read_bundle(BUNDLES / bundle).bundle.input
    for name, values in (("pixel_mean", wanted.mean), ("pixel_std", wanted.std)):
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.float32).reshape(1, -1, 1, 1), name))
    for node in graph.node:
        node.input[:] = ["normalized" if name == "input" else name for name in node.input]
    graph.node.insert(0, helper.make_node("Div", ["centred", "pixel_std"], ["normalized"]))
    graph.node.insert(0, helper.make_node("Sub", ["input", "pixel_mean"], ["centred"]))
    del graph.output[1:]
    del model.metadata_props[:]
    return bytes(model.SerializeToString())
