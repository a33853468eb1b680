"""Read what the sections need: bundles, their graphs and torch networks, and labelled photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image

from export.statistics.evaluate import normalized
from models.networks.network import Architecture, Network
from models.training.data import IMAGE_SUFFIXES, DataError
from service.contract.bundle_schema import Bundle, GraphName


@dataclass(frozen=True)
class Photographs:
    """Images uint8 [n, h, w, 3] and class numbers int64 [n], class by class."""

    images: NDArray[np.uint8]
    classes: NDArray[np.int64]


def read_bundles(folder: Path) -> dict[str, Bundle]:
    """Read the bundles in a folder, by name; bundles in sub-folders by version are left out."""
    files = sorted(folder.glob("*/bundle.json"))
    bundles = (Bundle.parsed(file.read_bytes()) for file in files)
    return {bundle.name: bundle for bundle in bundles}


def session(folder: Path, bundle: Bundle, graph: GraphName, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open one of the bundle's graphs in ONNX Runtime on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    file = folder / bundle.name / bundle.graphs[graph].file
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def network(folder: Path, bundle: Bundle) -> Network:
    """Rebuild the bundle's network in torch, in inference mode, with BatchNorm folded into the layers.

    Raises:
        ValueError: the bundle was imported, so there is no torch definition of it.
    """
    described = bundle.architecture
    if described.family == "imported" or described.activation is None:
        raise ValueError(f"{bundle.name} was imported; only a network trained here can be rebuilt in torch")
    architecture = Architecture(described.family, described.depth, described.activation, normalization="none")
    rebuilt = Network(architecture, classes=len(bundle.labels))
    graph = onnx.load(folder / bundle.name / bundle.graphs["forward"].file).graph
    stored = {entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy()) for entry in graph.initializer}
    parameters = {}
    for name in rebuilt.state_dict():
        folded = name.removesuffix(".bias") + ".weight.folded_bias"
        found = stored.get(folded, stored.get(name)) if name.endswith(".bias") else stored.get(name)
        if found is None:
            raise ValueError(f"{bundle.name}: the forward graph lacks {name}")
        parameters[name] = found
    rebuilt.load_state_dict(parameters)
    return rebuilt.eval()


def read_photographs(folder: Path, labels: tuple[str, ...], per_class: int) -> Photographs:
    """Read the first `per_class` photographs, by file name, of every class in `folder/<label>/`.

    Where `folder` has a `test/`, as data sets do, they are read from `folder/test/<label>/`.

    Raises:
        DataError: `folder` is no folder, a class has too few photographs, or a file cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; unpack the archive first")
    folder = folder / "test" if (folder / "test").is_dir() else folder
    images, classes = [], []
    for number, label in enumerate(labels):
        files = sorted(file for file in (folder / label).glob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        if len(files) < per_class:
            raise DataError(f"{folder / label} has {len(files)} photographs; {per_class} are needed")
        for file in files[:per_class]:
            try:
                with Image.open(file) as image:
                    images.append(np.asarray(image.convert("RGB")))
            except OSError as error:
                raise DataError(f"{file}: not a readable image ({error})") from error
            classes.append(number)
    return Photographs(np.stack(images), np.array(classes, dtype=np.int64))


def network_input(bundle: Bundle, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Make the tensor `input` of photographs that have the bundle's own size."""
    return normalized(images, bundle.input)
