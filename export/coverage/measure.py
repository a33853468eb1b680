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
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn

from export.coverage.reference import Truth, truth
from export.coverage.zoo import CLASSES, Family, build, images
from export.gradient import Prepared, differentiate, prepare
from export.importing import ImportedModel, ImportOptions, import_classifier

Array = NDArray[Any]

SAMPLES = 3
FOLDING_TOLERANCE = 1e-4
LABELS = tuple(f"class {number}" for number in range(CLASSES))
OPTIONS = ImportOptions(labels=LABELS, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Measurement:
    """Largest relative differences to torch (float64) over all layers and samples; NaN where nothing compares."""

    layers: int
    weights_in_torch: int
    other_parameters: int
    seconds: float
    differences: dict[str, float] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        return max(self.differences.values(), default=float("nan"))


def measure(
    family: Family,
    export: Callable[[nn.Module, Tensor, Path], None],
    keep: Callable[[ImportedModel, nn.Module], None] | None = None,
) -> Measurement:
    """Export, import and compare; `keep` gets the imported model and the network, to serve it.

    Raises GradientError where the file is refused.
    """
    network = build(family)
    batch = images(family, SAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(network, batch, path)
        started = time.perf_counter()
        imported = import_classifier(path, OPTIONS)
    prepared = prepare(imported.model, constants=imported.constants)
    graphs = {name: differentiate(prepared, name) for name in ("batch_norms", "input_gradient")}
    seconds = time.perf_counter() - started
    if keep is not None:
        keep(imported, network)
    return compare(imported, prepared, graphs, network, batch, seconds)


def compare(
    imported: ImportedModel,
    prepared: Prepared,
    graphs: Mapping[str, ModelProto],
    network: nn.Module,
    batch: Tensor,
    seconds: float,
) -> Measurement:
    """Every layer and parameter of `prepared` beside the torch parameter with the same numbers."""
    classes = [number % CLASSES for number in range(len(batch))]
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in imported.model.graph.initializer}
    weights = {layer.name: stored.get(f"{layer.name}.weight", stored.get(layer.name)) for layer in prepared.layers}
    expected, names = _best_match(network, weights, batch, classes)
    answers = _answers(graphs, batch.numpy(), classes)
    unmatched = tuple(layer for layer in weights if layer not in names)
    rows: dict[str, list[float]] = {name: [] for name in ("activation", "weight", "batch", "other")}
    for column, layer in enumerate(prepared.layers):
        if layer.name not in names:
            continue
        torch_name = names[layer.name]
        rows["weight"].append(relative(answers["weight_square"][:, column], expected.weight[torch_name]))
        rows["batch"].append(relative(answers["batch_square"][column], np.array(expected.batch[torch_name])))
        if torch_name in expected.activation:
            square = answers["activation_square"][:, column]
            rows["activation"].append(relative(square, expected.activation[torch_name]))
    others = {entry.name: stored[entry.name] for entry in prepared.other_parameters if entry.name in stored}
    matched = match(others, expected.values)
    for column, entry in enumerate(prepared.other_parameters):
        if entry.name in matched:
            norms = expected.weight[matched[entry.name]]
            rows["other"].append(relative(answers["other_square"][:, column], norms))
    differences = {name: max(values) for name, values in rows.items() if values}
    scale = max(1.0, float(np.abs(expected.logits).max()))
    differences["logits"] = float(np.abs(answers["logits"] - expected.logits).max()) / scale
    difference = np.sqrt(((answers["input_gradient"] - expected.input_gradient) ** 2).sum((1, 2, 3)))
    differences["input"] = float((difference / np.sqrt((expected.input_gradient**2).sum((1, 2, 3)))).max())
    used = sum(1 for name in expected.activation)
    return Measurement(len(prepared.layers), used, len(prepared.other_parameters), seconds, differences, unmatched)


def relative(square: Array, norm: Array) -> float:
    """Largest relative difference of √square to `norm`; where the norm is 0 the answer must be 0 too."""
    root = np.sqrt(np.asarray(square, dtype=np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(norm == 0, np.where(root == 0, 0.0, np.inf), np.abs(root - norm) / norm)
    return float(np.nan_to_num(ratio, nan=np.inf).max(initial=0.0))


def _answers(graphs: Mapping[str, ModelProto], batch: Array, classes: list[int]) -> dict[str, Array]:
    feeds = {
        "input": batch,
        "label": np.array(classes, dtype=np.int64),
        "cotangent_scale": np.ones(len(batch), dtype=np.float32),
    }
    answers: dict[str, Array] = {}
    for model in graphs.values():
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        outputs = [output.name for output in session.get_outputs()]
        answers |= dict(zip(outputs, session.run(None, feeds), strict=True))
    return answers


def _best_match(
    network: nn.Module, weights: Mapping[str, Array | None], batch: Tensor, classes: list[int]
) -> tuple[Truth, dict[str, str]]:
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
    return truth(chosen, batch, classes), names


def folded(network: nn.Module) -> nn.Module | None:
    """The network with BatchNorm folded by torch's own pass; None where it cannot be traced."""
    from torch.fx.experimental.optimization import fuse

    try:
        fused: nn.Module = fuse(copy.deepcopy(network).eval())
    except Exception:  # torch.fx raises whatever the traced code raises
        return None
    return fused


def match(mine: Mapping[str, Array], theirs: Mapping[str, Array]) -> dict[str, str]:
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


def _key(value: Array) -> tuple[int, float]:
    return value.size, float(np.linalg.norm(value.astype(np.float64)))


def _same_numbers(a: Array, b: Array) -> bool:
    scale = float(np.abs(b).max(initial=0)) or 1.0
    return bool(np.allclose(np.sort(a, axis=None), np.sort(b, axis=None), rtol=0, atol=FOLDING_TOLERANCE * scale))


