"""One row of the measurement: a listed architecture by one exporter, or a file of another producer."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from export.coverage.architectures.architecture import CLASSES, build, images
from export.coverage.exact import differences_in_float64
from export.coverage.files.producers import files, producer
from export.coverage.measure import (
    SAMPLES,
    Imported,
    Labels,
    Measurement,
    agreement,
    classes_of,
    drawn_for,
    imported,
    plain_options,
    runs_in_float64,
    truth_of,
)
from export.coverage.rivals import Asked
from export.coverage.served import ServiceDisagrees, ask
from export.coverage.truth.clearest import clearest
from export.coverage.truth.differences import central_differences
from export.coverage.truth.interpreted.network import Interpreted
from export.graph.errors import GradientError
from export.importing import ImportOptions
from export.verification.parity import NORM_BOUND

DRAWN = (8, 64)
"""Images among which the clearest are chosen: few at first, many where a figure exceeds its bound."""
EXPORTED_WITHIN = 0.05
"""Part of the largest score by which a file may differ from its network: an ill-conditioned one loses digits."""
Row = dict[str, Any]
"""Plain values, as docs/reports/coverage.json keeps them."""
Draw = Callable[[int], Tensor]


class Unfit(Exception):
    """The row that says why a file was not imported."""

    def __init__(self, row: Row) -> None:
        super().__init__(row["sentence"])
        self.row = row


def architecture_row(key: str, path: Path, serves: bool) -> tuple[Row, Asked | None]:
    """Measure the file at `path`, which one of torch's exporters wrote of the architecture."""
    from export.coverage.architectures.listed import ARCHITECTURES

    architecture = ARCHITECTURES[key]
    network = build(architecture)

    def draw(count: int) -> Tensor:
        return images(architecture, count)

    with tempfile.TemporaryDirectory() as folder:
        try:
            _require_the_network(network, path, draw(SAMPLES))
            found = _imported(path, plain_options(CLASSES), Path(folder))
            runs = runs_in_float64(network, draw(1))
            network = network if runs else Interpreted(found.model).eval()  # whose nodes the importer compared
            row, batch = _compared(found, network, draw)
            row |= {} if runs else {"reference": "nodes"}
            row |= _served(found, network) if serves else {}
        except Unfit as unfit:
            if unfit.row["status"] == "not exported" or not runs_in_float64(network, draw(1)):
                return unfit.row, None
            row, batch = unfit.row, clearest(network, draw(DRAWN[0]), SAMPLES)
    return row, _asked(network, batch, CLASSES, are_probabilities=False)


def _require_the_network(network: nn.Module, path: Path, images: Tensor) -> None:
    """Raise Unfit where the exporter wrote a file that does not run, or another network than it was given.

    Tracing does so with functions that bring their own gradient.
    """
    with torch.no_grad():
        expected = network(images).numpy()
    try:
        difference = float(np.abs(_scores(path, images) - expected).max() / np.abs(expected).max())
    except Exception as error:  # ONNX Runtime's errors have no common class
        raise Unfit(_without_file(f"ONNX Runtime does not run the file: {error}")) from error
    if not difference <= EXPORTED_WITHIN:
        sentence = f"the exporter wrote another network: its scores differ by {difference:.1g} of the largest"
        raise Unfit(_without_file(sentence))


def _without_file(sentence: str) -> Row:
    return {"status": "not exported", "sentence": sentence}


def file_row(key: str, path: Path) -> tuple[Row, Asked | None]:
    """Measure a file of another producer at `path`, which may have its weights drawn anew."""
    file = next(file for file in files() if file.key == key)
    row: Row = {"producer": producer(file)}
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = _imported(path, plain_options(file.classes, file.size), Path(folder))
        except Unfit as unfit:
            return row | unfit.row, None
        network = Interpreted(found.model).eval()
        compared, batch = _compared(found, network, lambda count: drawn_for(found.bundle, count))
        compared["differences"]["central"] = central_differences(network, batch)
        row |= compared | _served(found, network)
    return row, _asked(network, batch, file.classes, _are_probabilities(path, batch))


def _imported(path: Path, options: ImportOptions, bundles: Path) -> Imported:
    try:
        return imported(path, options, bundles)
    except GradientError as error:
        raise Unfit({"status": "refused", "sentence": str(error)}) from error
    except Exception as error:
        row = {"status": "traceback", "sentence": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        raise Unfit(row) from error


def _compared(found: Imported, network: nn.Module, draw: Draw) -> tuple[Row, Tensor]:
    """Compare with the network on the clearest of few images, and where a figure exceeds its bound, of many."""
    for count in DRAWN:
        batch = clearest(network, draw(count), SAMPLES)
        labels = classes_of(len(batch), len(found.bundle.labels))
        measurement = agreement(found, network, batch, labels)
        if not measurement.exceeding:
            break
    row = {"status": status(measurement), **asdict(measurement), "by_nodes": len(measurement.by_nodes)}
    if measurement.exceeding and not (measurement.left_out or measurement.unproved):
        row |= _in_float64(found, batch, labels)
    return row, batch


def _in_float64(found: Imported, batch: Tensor, labels: Labels) -> Row:
    """Return another status where the graphs are exact in float64, so that only digits of float32 were lost."""
    try:
        differences = differences_in_float64(found, batch, labels)
    except NotImplementedError:
        return {}
    exact = max(differences.values()) <= NORM_BOUND["float64"]
    return {"float64": differences, **({"status": "exact"} if exact else {})}


def status(measurement: Measurement) -> str:
    """Say in a word how the file fared: "right", "wrong", "incomplete" (a graph does not run) or "unproved"."""
    if measurement.exceeding:
        return "wrong"
    if measurement.left_out:
        return "incomplete"
    return "unproved" if measurement.unproved else "right"


def _served(found: Imported, network: nn.Module) -> Row:
    try:
        ask(found, network)
    except ServiceDisagrees as error:
        return {"http": f"no: {error}", "status": "wrong"}
    return {"http": "yes"}


def _asked(network: nn.Module, batch: Tensor, classes: int, are_probabilities: bool) -> Asked:
    chosen = classes_of(len(batch), classes)
    return Asked(batch.numpy(), chosen, truth_of(network, batch, chosen).input_gradient, are_probabilities)


def _are_probabilities(path: Path, batch: Tensor) -> bool:
    scores = _scores(path, batch[:1])
    return bool(scores.min() >= 0 and abs(float(scores.sum()) - 1) < 1e-3)


def _scores(path: Path, images: Tensor) -> np.ndarray:
    """Return the file's first output for images, by ONNX Runtime; one by one, where it takes one."""
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), quiet, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    scores: np.ndarray = np.concatenate([session.run(None, {name: image[None].numpy()})[0] for image in images])
    return scores
