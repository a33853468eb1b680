"""One family through one exporter: exported, imported, differentiated, compared with torch."""

from __future__ import annotations

import copy
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

from export.coverage.autograd import Truth, clearest, truth
from export.coverage.families import CLASSES, Family, build, images
from export.gradient import Prepared, differentiate, prepare, to_float64
from export.importing import ImportedModel, ImportOptions, import_classifier
from export.running.reference import evaluate

SAMPLES = 3
DRAWN = 24
BOUND = 1e-3
FOLDING_TOLERANCE = 1e-4
LABELS = tuple(f"class {number}" for number in range(CLASSES))
OPTIONS = ImportOptions(labels=LABELS, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Measurement:
    """Largest relative differences to torch in float64, over all layers and samples, by quantity.

    `differences` are of the float32 graphs in ONNX Runtime; `exact` of the same nodes in double, on the
    first sample, by onnx's reference evaluator (empty where not asked for); `rounding` what torch's own
    float32 loses of the same quantities (empty where no difference exceeds the bound).
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
    """Export, import and compare; `keep` gets the imported model and the network, to serve them.

    Raises GradientError where the file is refused.
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

    `batch` float32 [SAMPLES, c, h, w]; `started` is the process's CPU time when the import began.
    """
    prepared, graphs = _differentiated(imported, imported.model)
    seconds = time.process_time() - started
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in imported.model.graph.initializer}
    weights = {layer.name: stored.get(f"{layer.name}.weight", stored.get(layer.name)) for layer in prepared.layers}
    classes = np.arange(len(batch), dtype=np.int64) % len(imported.labels)
    reference, names = _best_match(network, weights)
    expected = truth(reference, batch, classes.tolist())
    others = {entry.name: stored[entry.name] for entry in prepared.other_parameters if entry.name in stored}
    names |= match(others, expected.values)
    answers = _by_onnxruntime(graphs, _feeds(batch, classes, np.float32))
    differences = compare(prepared, answers, expected, names)
    rounding: dict[str, float] = {}
    if max(differences.values()) > BOUND:
        rounding = loss(truth(reference, batch, classes.tolist(), torch.float32), expected)
    exact: dict[str, float] = {}
    if in_double:
        doubled, graphs = _differentiated(imported, to_float64(imported.model))
        found = _by_reference(graphs, _feeds(batch[:1], classes[:1], np.float64))
        exact = compare(doubled, found, expected.first(), names)
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
    prepared: Prepared, answers: Mapping[str, np.ndarray], expected: Truth, names: Mapping[str, str]
) -> dict[str, float]:
    """Largest relative difference by quantity; `names` maps our layers and parameters to torch's."""
    rows: dict[str, list[float]] = {name: [] for name in ("activation", "weight", "batch", "other")}
    for column, layer in enumerate(prepared.layers):
        theirs = names.get(layer.name)
        if theirs is None:
            continue
        rows["weight"].append(relative(answers["weight_square"][:, column], expected.weight[theirs]))
        if len(expected.logits) == SAMPLES:
            rows["batch"].append(relative(answers["batch_square"][column], np.array(expected.batch[theirs])))
        if theirs in expected.activation:
            rows["activation"].append(relative(answers["activation_square"][:, column], expected.activation[theirs]))
    for column, entry in enumerate(prepared.other_parameters):
        if entry.name in names:
            rows["other"].append(relative(answers["other_square"][:, column], expected.weight[names[entry.name]]))
    differences = {name: max(values) for name, values in rows.items() if values}
    scale = max(1.0, float(np.abs(expected.logits).max()))
    differences["logits"] = float(np.abs(answers["logits"] - expected.logits).max()) / scale
    differences["input"] = whole(answers["input_gradient"], expected.input_gradient)
    return differences


def whole(found: np.ndarray, expected: np.ndarray) -> float:
    """‖difference‖/‖truth‖ of a sample's whole input gradient, the largest."""
    difference = np.sqrt(((found - expected) ** 2).sum((1, 2, 3)))
    return float((difference / np.sqrt((expected**2).sum((1, 2, 3)))).max())


def relative(square: np.ndarray, norm: np.ndarray) -> float:
    """Largest relative difference of √square to `norm`; where the norm is 0 the answer must be 0 too."""
    root = np.sqrt(np.asarray(square, dtype=np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(norm == 0, np.where(root == 0, 0.0, np.inf), np.abs(root - norm) / norm)
    return float(np.nan_to_num(ratio, nan=np.inf).max(initial=0.0))


def _feeds(batch: Tensor, classes: np.ndarray, precision: type[np.floating[Any]]) -> dict[str, np.ndarray]:
    ones = np.ones(len(batch), dtype=precision)
    return {"input": batch.numpy().astype(precision), "label": classes, "cotangent_scale": ones}


def _by_onnxruntime(graphs: list[ModelProto], feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    answers: dict[str, np.ndarray] = {}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for model in graphs:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        outputs = [output.name for output in session.get_outputs()]
        answers |= dict(zip(outputs, session.run(None, dict(feeds)), strict=True))
    return answers


def _by_reference(graphs: list[ModelProto], feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    answers: dict[str, np.ndarray] = {}
    for model in graphs:
        answers |= evaluate(model, feeds)
    return answers


def loss(rounded: Truth, expected: Truth) -> dict[str, float]:
    """Largest relative difference between two of torch's own answers, by quantity as `compare` has them."""
    found = {
        "weight": max(relative(np.square(rounded.weight[name]), norm) for name, norm in expected.weight.items()),
        "activation": max(relative(np.square(rounded.activation[name]), n) for name, n in expected.activation.items()),
        "batch": max(relative(np.square(rounded.batch[name]), np.array(n)) for name, n in expected.batch.items()),
        "logits": float(np.abs(rounded.logits - expected.logits).max())
        / max(1.0, float(np.abs(expected.logits).max())),
        "input": whole(rounded.input_gradient, expected.input_gradient),
    }
    return {**found, "other": found["weight"]}


def _best_match(network: nn.Module, weights: Mapping[str, np.ndarray | None]) -> tuple[nn.Module, dict[str, str]]:
    """The exporter may have folded BatchNorm: compare with the network as it is, or as folded by torch."""
    found = []
    present = {name: value for name, value in weights.items() if value is not None}
    for candidate in (network, folded(network)):
        if candidate is None:
            continue
        values = {name: parameter.detach().numpy() for name, parameter in candidate.named_parameters()}
        names = match(present, values)
        found.append((len(names), candidate, names))
        if len(names) == len(weights):
            break
    _, chosen, names = max(found, key=lambda entry: entry[0])
    return chosen, names


def folded(network: nn.Module) -> nn.Module | None:
    """The network with BatchNorm folded by torch's own pass; None where it cannot be traced."""
    from torch.fx.experimental.optimization import fuse

    try:
        fused: nn.Module = fuse(copy.deepcopy(network).eval())
    except Exception:  # torch.fx raises whatever the traced code raises
        return None
    return fused.requires_grad_(True)


def match(mine: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray]) -> dict[str, str]:
    """My name → their name, by equal numbers: exporters rename, transpose and reshape."""
    by_content: dict[tuple[int, float], list[str]] = {}
    for name, value in theirs.items():
        by_content.setdefault(_key(value), []).append(name)
    names: dict[str, str] = {}
    for name, value in mine.items():
        size, norm = _key(value)
        candidates = [
            other
            for (other_size, other_norm), others in by_content.items()
            if other_size == size and abs(other_norm - norm) <= FOLDING_TOLERANCE * max(norm, 1e-30)
            for other in others
        ]
        equal = [other for other in candidates if _same_numbers(value, theirs[other])]
        if equal:
            names[name] = equal[0]
    return names


def _key(value: np.ndarray) -> tuple[int, float]:
    return value.size, float(np.linalg.norm(value.astype(np.float64)))


def _same_numbers(a: np.ndarray, b: np.ndarray) -> bool:
    scale = float(np.abs(b).max(initial=0)) or 1.0
    return bool(np.allclose(np.sort(a, axis=None), np.sort(b, axis=None), rtol=0, atol=FOLDING_TOLERANCE * scale))
