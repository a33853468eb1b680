"""`python -m export verify`: verify a bundle as it lies on disk, without its training run.

Graphs are derived anew, in float64, from the bundle's own forward graph; of an int8 file, whose forward graph rounds,
from the float network in its graph of norms. Their input gradient is held to
central differences along random directions; the stored graphs' logits and scaling-invariant norms are
held to theirs. `export.trained.export_run` has the check against torch, for which it needs the run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from export.gradient import Prepared, differentiate, prepare, to_float64
from export.graph.edits import keep_only
from export.running.runs import Run, in_float64, in_onnxruntime
from export.verification.parity import LOGIT_BOUND, NORM_BOUND, relative_difference
from export.writing.bundle import read_bundle_and_graphs
from service.contract.bundle_schema import Bundle, ParityCheck
from service.contract.label_kinds import LabelKind, kind_called
from service.contract.norms import measure

IMAGES = 8
STEP = 1e-8
"""Small, so that few rectifiers change sides between the two ends; double precision leaves 1e-7 of it."""
DIRECTIONS = 3


def noise(bundle: Bundle, seed: int = 0) -> np.ndarray:
    """Draw `IMAGES` inputs for a bundle's graphs: float32, standard normal, in the layout of its input."""
    return np.random.default_rng(seed).normal(size=(IMAGES, *bundle.input.image_shape)).astype(np.float32)


def recheck(folder: Path) -> tuple[ParityCheck, ...]:
    """Verify the bundle in `folder` on noise; a check that misses its bound is returned, not raised.

    Raises:
        ValueError: it answers NaN or infinity, so that nothing can be compared.
    """
    bundle, graphs = read_bundle_and_graphs(folder, needed=("forward", "weight_norms"))
    images = noise(bundle)
    rounds = bundle.quantized is not None and bundle.quantized.rounded == "activations"
    network = keep_only(graphs["weight_norms" if rounds else "forward"], "logits")
    constants = _unnamed_weights(bundle, network)
    double = prepare(to_float64(network), constants=constants, logits=True, label_kind=bundle.label_kind)
    kind, labels = kind_called(bundle.label_kind), _labels(bundle)
    found = _norms(in_onnxruntime(graphs["weight_norms"]), images, labels)
    if not np.isfinite(found["logits"]).all():
        raise ValueError(
            f"{folder}: it answers NaN or infinity to noise, so that no gradient can be verified; `contraflow check` "
            "says what is wrong with it"
        )
    expected = _norms(in_float64(differentiate(double, "weight_norms")), images, labels)
    largest = float(np.abs(expected["logits"]).max())
    reference = f"derived anew from the stored {'float network' if rounds else 'forward graph'}, float64"
    return (
        ParityCheck(
            quantity="weight_norms: logits",
            reference=reference,
            precision="float32",
            batch=len(images),
            difference=float(np.abs(found["logits"].astype(np.float64) - expected["logits"]).max()),
            bound=LOGIT_BOUND["float32"] * max(1.0, largest),
        ),
        ParityCheck(
            quantity="weight_norms: scaled_gradient_norm",
            reference=reference,
            precision="float32",
            batch=len(images),
            difference=relative_difference(
                found["scaled_gradient_norm"], expected["scaled_gradient_norm"], per_entry=True
            ),
            bound=NORM_BOUND["float32"],
        ),
        _central_differences(double, images[:1], labels[:1], kind),
    )


def _labels(bundle: Bundle) -> np.ndarray:
    """Return labels of `IMAGES` losses: another class for each, or every second of independent labels."""
    rows, classes = np.arange(IMAGES, dtype=np.int64), len(bundle.labels)
    if bundle.label_kind == "exclusive":
        return rows % classes
    return (rows[:, None] + np.arange(classes, dtype=np.int64)) % 2


def _norms(run: Run, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    return measure(lambda scale: run({"input": images, "label": labels, "cotangent_scale": scale}), len(images))


def _central_differences(double: Prepared, image: np.ndarray, label: np.ndarray, kind: LabelKind) -> ParityCheck:
    """Compare ⟨v, dL/dx⟩ with (L(x + hv) − L(x − hv)) / 2h along random directions v, relative to ‖v‖·‖dL/dx‖."""
    forward, backward = in_float64(double.forward), in_float64(differentiate(double, "input_gradient"))
    gradient = backward({"input": image, "label": label, "cotangent_scale": np.ones(1)})["input_gradient"]
    generator, worst = np.random.default_rng(1), 0.0
    for _ in range(DIRECTIONS):
        v = generator.normal(size=image.shape)
        ahead, behind = (
            float(kind.losses(forward({"input": image + sign * STEP * v})["logits"], label)[0]) for sign in (1, -1)
        )
        projection = float((v * gradient).sum())
        largest = float(np.linalg.norm(v) * np.linalg.norm(gradient))
        worst = max(worst, abs((ahead - behind) / (2 * STEP) - projection) / (largest or 1.0))
    return ParityCheck(
        quantity="input_gradient: input_gradient",
        reference="central differences",
        precision="float64",
        batch=1,
        difference=worst,
        bound=1e-5,
    )


def _unnamed_weights(bundle: Bundle, network: onnx.ModelProto) -> tuple[str, ...]:
    """List the initializers that are no layer's weight although a Conv or Gemm may read them."""
    shapes, names = {layer.shape for layer in bundle.layers}, {layer.name for layer in bundle.layers}
    return tuple(
        tensor.name
        for tensor in network.graph.initializer
        # An import cannot know that a network of ours only selects channels there, and counts it as a layer.
        if (tensor.name.endswith(".selection") and tensor.name not in names)
        or (len(tensor.dims) > 1 and tuple(tensor.dims) not in shapes)
    )


def in_lines(checks: tuple[ParityCheck, ...]) -> str:
    """Describe the checks, one per line."""
    return "\n".join(
        f"{'ok  ' if check.difference <= check.bound else 'MISS'} {check.quantity:44} {check.precision} batch "
        f"{check.batch}: {check.difference:.2e} (bound {check.bound:.2e}; {check.reference})"
        for check in checks
    )
