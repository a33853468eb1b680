"""`python -m export verify`: measure a bundle again, as it lies on disk.

With the training run at hand, against torch, as when it was exported. Without it, in float64 from
the bundle's own forward graph: the input gradient against central differences along random
directions, and the stored graphs' logits and scaling-invariant norms against graphs derived anew.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export.gradient import differentiate, prepare, to_float64
from export.running.parity import LOGIT_BOUND, NORM_BOUND, relative_difference
from export.running.runs import in_float64, in_onnxruntime
from export.writing.bundle import read_bundle
from service.contract.bundle_schema import Bundle, GraphName, ParityCheck
from service.contract.loss import losses
from service.contract.norms import measure

Array = NDArray[Any]

IMAGES = 8
STEP = 1e-8
"""Small, so that few rectifiers change sides between the two ends; double precision leaves 1e-7 of it."""
DIRECTIONS = 3


def recheck(folder: Path, run: Path | None, seed: int = 0) -> tuple[ParityCheck, ...]:
    """Every check of the bundle, measured now on seeded noise.

    Raises:
        ParityError: a bound is missed (only with `run`; otherwise look at the checks).
        RunError: the training run cannot be read.
    """
    bundle, graphs = read_bundle(folder)
    spec = bundle.input
    sizes = (spec.channels, spec.height, spec.width)
    shape = sizes if spec.layout == "nchw" else (*sizes[1:], sizes[0])
    images = np.random.default_rng(seed).normal(size=(IMAGES, *shape)).astype(np.float32)
    if run is None:
        return _without_source(bundle, graphs, images)
    from export.verification.verify import verify
    from export.writing.forward import constants_of, forward_graph, read_run

    trained = read_run(run)
    forward = forward_graph(trained.network, spec.height)
    return verify(trained.network, forward, constants_of(trained.network), graphs, images)


def _without_source(bundle: Bundle, graphs: dict[GraphName, onnx.ModelProto], images: Array) -> tuple[ParityCheck, ...]:
    untrained = _untrained(bundle, graphs["forward"])
    double = prepare(to_float64(_logits_only(graphs["forward"])), constants=untrained, logits=True)
    classes = np.arange(len(images), dtype=np.int64) % len(bundle.labels)
    stored = in_onnxruntime(graphs["weight_norms"])
    anew = in_float64(differentiate(double, "weight_norms"))
    feeds = {"input": images, "label": classes}
    found, expected = (
        measure(lambda scale, run=run: run(feeds | {"cotangent_scale": scale}), len(images))  # type: ignore[misc]
        for run in (stored, anew)
    )
    size = max(1.0, float(np.abs(expected["logits"]).max()))
    reference = "derived anew from the stored forward graph, float64"
    return (
        ParityCheck(
            quantity="weight_norms: logits",
            reference=reference,
            precision="float32",
            batch=len(images),
            difference=float(np.abs(found["logits"].astype(np.float64) - expected["logits"].astype(np.float64)).max()),
            bound=LOGIT_BOUND["float32"] * size,
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
        _central_differences(double, images[:1], classes[:1]),
    )


def _central_differences(double: Any, image: Array, label: Array) -> ParityCheck:
    """⟨v, dL/dx⟩ against (L(x + hv) - L(x - hv)) / 2h along random directions v, relative to ‖v‖·‖dL/dx‖."""
    forward, backward = in_float64(double.forward), in_float64(differentiate(double, "input_gradient"))
    gradient = backward({"input": image, "label": label, "cotangent_scale": np.ones(1)})["input_gradient"]
    generator, worst = np.random.default_rng(1), 0.0
    for _ in range(DIRECTIONS):
        v = generator.normal(size=image.shape)
        ahead, behind = (
            float(losses(forward({"input": image + sign * STEP * v})["logits"], label)[0]) for sign in (1, -1)
        )
        projection = float((v * gradient).sum())
        size = float(np.linalg.norm(v) * np.linalg.norm(gradient))
        worst = max(worst, abs((ahead - behind) / (2 * STEP) - projection) / (size or 1.0))
    return ParityCheck(
        quantity="input_gradient: input_gradient",
        reference="central differences",
        precision="float64",
        batch=1,
        difference=worst,
        bound=1e-5,
    )


def _logits_only(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(value for value in model.graph.output if value.name == "logits")
    return copy


def _untrained(bundle: Bundle, forward: onnx.ModelProto) -> tuple[str, ...]:
    """Initializers that are no layer's weight although a Conv or Gemm reads them."""
    shapes = {layer.shape for layer in bundle.layers}
    return tuple(
        tensor.name
        for tensor in forward.graph.initializer
        if tensor.name.endswith(".selection") or (len(tensor.dims) > 1 and tuple(tensor.dims) not in shapes)
    )


def table(checks: tuple[ParityCheck, ...]) -> str:
    """One line per check."""
    return "\n".join(
        f"{'ok  ' if check.difference <= check.bound else 'MISS'} {check.quantity:44} {check.precision} batch "
        f"{check.batch}: {check.difference:.2e} (bound {check.bound:.2e}; {check.reference})"
        for check in checks
    )
