"""Export a family by one exporter, import the file, differentiate it, and compare it with torch."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

from export.coverage.clearest import clearest
from export.coverage.families import CLASSES, Family, build, images
from export.coverage.matching import best_match, match
from export.gradient import Prepared, differentiate, prepare, to_float64
from export.importing import ImportedModel, ImportOptions, import_classifier
from export.running.reference import evaluate
from export.verification.autograd import Truth, truth
from export.verification.parity import NORM_BOUND, relative_difference

SAMPLES = 3
DRAWN = 24
LABELS = tuple(f"class {number}" for number in range(CLASSES))
OPTIONS = ImportOptions(labels=LABELS, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Measurement:
    """Largest relative differences to torch in float64, over all layers and samples, by quantity.

    Args:
        layers: how many layers the bundle would have.
        activations_compared: for how many of them torch gives an activation gradient too.
        other_parameters: how many parameters belong to no layer.
        seconds: CPU time from the file to the gradient graphs.
        differences: of the float32 graphs in ONNX Runtime.
        exact: of the same nodes in double by onnx's reference evaluator, on the first sample; empty
            where this was not asked for.
        rounding: what torch's own float32 loses; empty where no difference exceeds the bound.
        unmatched: layers whose weight equals no parameter of the network.
    """

    layers: int
    activations_compared: int
    other_parameters: int
    seconds: float
    differences: dict[str, float] = field(default_factory=dict)
    exact: dict[str, float] = field(default_factory=dict)
    rounding: dict[str, float] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        return max(self.differences.values(), default=float("nan"))


def measure(
    family: Family,
    export: Callable[[nn.Module, Tensor, Path], None],
    in_double: bool = False,
    keep: Callable[[ImportedModel, nn.Module], None] | None = None,
) -> Measurement:
    """Export, import and compare.

    Args:
        in_double: run the same nodes in double too (slow).
        keep: called with the imported model and the network, to serve them.

    Raises:
        GradientError: the importer refuses the file.
    """
    network = build(family)
    batch = clearest(network, images(family, DRAWN), SAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(network, batch, path)
        started = time.process_time()
        imported = import_classifier(path, OPTIONS)
    if keep is not None:
        keep(imported, network)
    return agreement(imported, network, batch, started, in_double)


def agreement(
    imported: ImportedModel, network: nn.Module, batch: Tensor, started: float, in_double: bool = False
) -> Measurement:
    """Differentiate an imported model and compare it with its network in torch.

    Args:
        batch: float32 [SAMPLES, c, h, w].
        started: the process's CPU time when the import began.
    """
    prepared, graphs = _differentiated(imported, imported.model)
    seconds = time.process_time() - started
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in imported.model.graph.initializer}
    weights = {layer.name: stored.get(f"{layer.name}.weight", stored.get(layer.name)) for layer in prepared.layers}
    classes = np.arange(len(batch), dtype=np.int64) % len(imported.labels)
    reference, names = best_match(network, weights)
    expected = truth(reference, batch, classes.tolist())
    others = {entry.name: stored[entry.name] for entry in prepared.other_parameters if entry.name in stored}
    names |= match(others, expected.values)
    outputs = _by_onnxruntime(graphs, _feeds(batch, classes, np.float32))
    differences = compare(prepared, outputs, expected, names)
    rounding: dict[str, float] = {}
    if max(differences.values()) > NORM_BOUND["float32"]:
        rounding = lost_by_torch(truth(reference, batch, classes.tolist(), torch.float32), expected)
    exact: dict[str, float] = {}
    if in_double:
        double, graphs = _differentiated(imported, to_float64(imported.model))
        outputs = _by_reference_evaluator(graphs, _feeds(batch[:1], classes[:1], np.float64))
        exact = compare(double, outputs, expected.first(), names)
    return Measurement(
        layers=len(prepared.layers),
        activations_compared=sum(names.get(layer.name) in expected.activation for layer in prepared.layers),
        other_parameters=len(prepared.other_parameters),
        seconds=seconds,
        differences=differences,
        exact=exact,
        rounding=rounding,
        unmatched=tuple(name for name in weights if name not in names),
    )


def _differentiated(imported: ImportedModel, model: ModelProto) -> tuple[Prepared, list[ModelProto]]:
    prepared = prepare(model, constants=imported.constants, logits=True)
    return prepared, [differentiate(prepared, name) for name in ("batch_norms", "input_gradient")]


def compare(
    prepared: Prepared, outputs: Mapping[str, np.ndarray], expected: Truth, names: Mapping[str, str]
) -> dict[str, float]:
    """Return the largest relative difference by quantity; `names` maps our layers and parameters to torch's."""
    found: dict[str, list[float]] = {name: [] for name in ("activation", "weight", "batch", "other")}

    def note(quantity: str, square: np.ndarray, norm: np.ndarray | float) -> None:
        found[quantity].append(_norm_difference(square, norm))

    for column, layer in enumerate(prepared.layers):
        theirs = names.get(layer.name)
        if theirs is None:
            continue
        note("weight", outputs["weight_square"][:, column], expected.gradient[theirs])
        if theirs in expected.batch:
            note("batch", outputs["batch_square"][column], expected.batch[theirs])
        if theirs in expected.activation:
            note("activation", outputs["activation_square"][:, column], expected.activation[theirs])
    for column, entry in enumerate(prepared.other_parameters):
        if entry.name in names:
            note("other", outputs["other_square"][:, column], expected.gradient[names[entry.name]])
    differences = {name: max(values) for name, values in found.items() if values}
    return differences | _of_whole_tensors(outputs["logits"], outputs["input_gradient"], expected)


def _of_whole_tensors(logits: np.ndarray, input_gradient: np.ndarray, expected: Truth) -> dict[str, float]:
    largest = max(1.0, float(np.abs(expected.logits).max()))
    return {
        "logits": float(np.abs(logits - expected.logits).max()) / largest,
        "input": relative_difference(input_gradient, expected.input_gradient, per_entry=False),
    }


def _norm_difference(square: np.ndarray, norm: np.ndarray | float) -> float:
    """Return the largest relative difference of √square to `norm`."""
    return relative_difference(np.sqrt(np.asarray(square, dtype=np.float64)), np.asarray(norm), per_entry=True)


def _feeds(batch: Tensor, classes: np.ndarray, precision: type[np.floating[Any]]) -> dict[str, np.ndarray]:
    ones = np.ones(len(batch), dtype=precision)
    return {"input": batch.numpy().astype(precision), "label": classes, "cotangent_scale": ones}


def _by_onnxruntime(graphs: list[ModelProto], feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    outputs: dict[str, np.ndarray] = {}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for model in graphs:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        outputs |= dict(zip(names, session.run(None, dict(feeds)), strict=True))
    return outputs


def _by_reference_evaluator(graphs: list[ModelProto], feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    outputs: dict[str, np.ndarray] = {}
    for model in graphs:
        outputs |= evaluate(model, feeds)
    return outputs


def lost_by_torch(rounded: Truth, expected: Truth) -> dict[str, float]:
    """Return the largest relative difference of torch's float32 to its float64, by quantity as in `compare`."""

    def largest(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
        return max(_norm_difference(np.square(mine[name]), norm) for name, norm in theirs.items())

    weight = largest(rounded.gradient, expected.gradient)
    return {
        "weight": weight,
        "activation": largest(rounded.activation, expected.activation),
        "batch": largest(rounded.batch, expected.batch),
        **_of_whole_tensors(rounded.logits, rounded.input_gradient, expected),
        "other": weight,
    }
