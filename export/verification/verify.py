"""Compare every output of a bundle's graphs with torch autograd in float64; the result travels with the bundle.

The truth is the torch network with its stored float32 parameters promoted to double. The float32 checks run
the bundle's graphs in ONNX Runtime. The float64 checks run graphs derived in the same way from the promoted
forward graph, in onnx's reference evaluator. The forward graph is promoted before it is prepared, because
folding in float32 would leave a difference of 7e-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import onnx
import torch
from torch import nn

from export.gradient import Prepared, differentiate, prepare, to_float64
from export.running.runs import Run, in_float64, in_onnxruntime
from export.verification.autograd import Truth, logit_gradients, truth
from export.verification.parity import (
    CONDITION_FACTOR,
    LOGIT_BOUND,
    NORM_BOUND,
    ParityError,
    float32_bound,
    relative_difference,
)
from service.contract.bundle_schema import GraphName, ParityCheck
from service.contract.norms import measure
from service.contract.outputs import OUTPUTS

Precision = Literal["float32", "float64"]
Outputs = dict[str, np.ndarray]
"""Arrays by the names that the service gives them."""

BATCHES = (1, 8)
REFERENCE = "torch autograd, float64"
VERIFIED = {output.offered_as: output.verified for output in OUTPUTS if output.verified}
"""Output as the service names it → how it is compared with torch."""


def verify(
    network: nn.Module,
    forward: onnx.ModelProto,
    constants: tuple[str, ...],
    graphs: Mapping[GraphName, onnx.ModelProto],
    images: np.ndarray,
) -> tuple[ParityCheck, ...]:
    """Measure every output of `graphs` at batch 1 and 8.

    Args:
        network: the torch source, in inference mode.
        forward: the ONNX graph that was exported from it.
        constants: names of its initializers that are no parameters, as `prepare` takes them.
        graphs: what was derived from `forward` in float32.
        images: float32 [8 or more, c, h, w].

    Raises:
        ParityError: a bound is missed. The bounds: logits 1e-4 · max(1, largest |logit|) in float32,
            norms 1e-3 relative in float32 (see `float32_bound`) and 1e-8 in float64.
        ValueError: the table of outputs has one verified that torch's answer lacks.
    """
    double = prepare(to_float64(forward), constants=constants)
    runs: dict[tuple[Precision, GraphName], Run] = {}
    for name, model in graphs.items():
        runs["float32", name] = in_onnxruntime(model)
        runs["float64", name] = in_float64(differentiate(double, name))
    checks = []
    classes = np.arange(len(images), dtype=np.int64) % double.classes
    for batch in BATCHES:
        samples = torch.from_numpy(images[:batch]), classes[:batch].tolist()
        expected = _as_served(truth(network, *samples), double)
        expected["logit_gradient"] = logit_gradients(network, *samples)
        if missing := VERIFIED.keys() - expected.keys():
            raise ValueError(f"verified, but not in torch's answer: {', '.join(map(str, missing))}")
        rounded = _as_served(truth(network, *samples, torch.float32), double)
        rounded["logit_gradient"] = logit_gradients(network, *samples, torch.float32)
        bounds = {"float32": _float32_bounds(rounded, expected), "float64": _float64_bounds(expected)}
        for (precision, name), run in runs.items():
            found = _run_as_served(run, graphs[name], images[:batch], classes[:batch])
            checks += [
                ParityCheck(
                    quantity=f"{name}: {output}",
                    reference=REFERENCE,
                    precision=precision,
                    batch=batch,
                    difference=difference(output, found[output], expected[output]),
                    bound=bound,
                )
                for output, bound in bounds[precision].items()
                if output in found
            ]
    _require(checks)
    return tuple(checks)


def _require(checks: list[ParityCheck]) -> None:
    missed = [check for check in checks if not check.difference <= check.bound]  # NaN misses every bound
    if missed:
        raise ParityError(
            "; ".join(
                f"{check.quantity} differs from {check.reference} by {check.difference:.3g} "
                f"({check.precision}, batch {check.batch}; the bound is {check.bound:.3g})"
                for check in missed
            )
        )


def _as_served(found: Truth, prepared: Prepared) -> Outputs:
    """Arrange torch's answer as the service does: one column per layer or parameter, in the bundle's order."""
    weights = [f"{layer.name}.weight" for layer in prepared.layers]
    biases = [f"{layer.name}.bias" for layer in prepared.layers if layer.bias]
    others = [entry.name for entry in prepared.other_parameters]
    samples = len(found.logits)

    def columns(norms: Mapping[str, np.ndarray], names: list[str]) -> np.ndarray:
        return np.stack([norms[name] for name in names], axis=1) if names else np.zeros((samples, 0))

    return {
        "logits": found.logits,
        "activation_gradient_norm": columns(found.activation, weights),
        "weight_gradient_norm": columns(found.gradient, weights),
        "scaled_gradient_norm": columns(found.scaled, weights),
        "bias_gradient_norm": columns(found.gradient, biases),
        "other_gradient_norm": columns(found.gradient, others),
        "input_gradient": found.input_gradient,
        "batch_gradient_norm": np.array([found.batch[name] for name in weights]) / samples,
    }


def _run_as_served(run: Run, model: onnx.ModelProto, images: np.ndarray, classes: np.ndarray) -> Outputs:
    """Run a graph as the service does: norms are measured at as many cotangent scales as needed."""
    available = {"input": images.astype(np.float32), "label": classes, "layer": np.array([-1])}
    feeds = {value.name: available[value.name] for value in model.graph.input if value.name in available}
    if all(value.name != "cotangent_scale" for value in model.graph.input):
        return run(feeds)
    return measure(lambda scale: run(feeds | {"cotangent_scale": scale}), len(images))


def difference(output: str, found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of one output, absolute or relative as `service.contract.outputs` says."""
    if VERIFIED[output] == "absolute":
        return float(np.abs(found - expected).max())
    return relative_difference(found, expected, per_entry=VERIFIED[output] == "entry")


def _float32_bounds(rounded: Outputs, expected: Outputs) -> dict[str, float]:
    """Bound every output by the ordinary bound, or by what `rounded`, torch's own float32, loses."""
    lost = {output: difference(output, values, expected[output]) for output, values in rounded.items()}
    bounds = {output: float32_bound(value) for output, value in lost.items()}
    bounds["logits"] = max(LOGIT_BOUND["float32"] * _size(expected), CONDITION_FACTOR * lost["logits"])
    return bounds


def _float64_bounds(expected: Outputs) -> dict[str, float]:
    bounds = dict.fromkeys(expected, NORM_BOUND["float64"])
    return bounds | {"logits": LOGIT_BOUND["float64"] * _size(expected)}


def _size(expected: Outputs) -> float:
    return max(1.0, float(np.abs(expected["logits"]).max()))
