"""The proof that travels with a bundle: every output against torch autograd in float64.

The reference is the torch network with its stored float32 parameters promoted to double. The
float32 column runs the bundle's graphs in ONNX Runtime; the float64 column runs the graphs made the
same way from the promoted forward model (promoted first, or folding in float32 would leave 7e-8),
in onnx's reference evaluator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.gradient import differentiate, prepare, to_float64
from export.running.runs import Run, in_float64, in_onnxruntime
from export.verification.parity import LOGIT_BOUND, NORM_BOUND, ParityError, relative_difference
from service.contract.bundle_schema import GraphName, Layer, OtherParameter, ParityCheck
from service.contract.norms import measure

Precision = Literal["float32", "float64"]

BATCHES = (1, 8)
REFERENCE = "torch autograd, float64"
CONDITION_FACTOR, LOOSEST = 4.0, 0.1
"""An ill-conditioned network (one that explodes) loses digits in any float32 arithmetic: its float32 bound is
this factor times what torch's own float32 loses, and never above the second number."""


@dataclass(frozen=True)
class Reference:
    """What torch says, in float64: logits [n, k] and norms per sample, named as the service names them."""

    logits: np.ndarray
    outputs: dict[str, np.ndarray]


def reference(
    network: nn.Module,
    layers: tuple[Layer, ...],
    other: tuple[OtherParameter, ...],
    images: np.ndarray,
    classes: np.ndarray,
    dtype: torch.dtype = torch.float64,
) -> Reference:
    """Every output of the gradient graphs, by autograd in `dtype`, one sample at a time.

    Args:
        network: its parameters are converted to `dtype` and back; images: float32 [n, c, h, w];
        classes: int64 [n].
    """
    network = network.to(dtype).eval()
    weights = {layer.name: network.get_parameter(f"{layer.name}.weight") for layer in layers}
    biases = {layer.name: network.get_parameter(f"{layer.name}.bias") for layer in layers if layer.bias}
    others = {entry.name: network.get_parameter(entry.name) for entry in other}
    parameters = [*weights.values(), *biases.values(), *others.values()]
    rows: dict[str, list[np.ndarray]] = {}
    summed = [torch.zeros_like(weight) for weight in weights.values()]
    logits = []
    for image, number in zip(images, classes, strict=True):
        x = torch.from_numpy(image[None]).to(dtype).requires_grad_(True)
        with _outputs_of(network, [layer.name for layer in layers]) as outputs:
            scores = network(x)
        loss = functional.cross_entropy(scores, torch.tensor([number]))
        activations = [outputs[layer.name] for layer in layers]
        gradients = torch.autograd.grad(loss, [*activations, *parameters, x])
        dy, dparameters, dx = gradients[: len(layers)], gradients[len(layers) : -1], gradients[-1]
        dw = dparameters[: len(weights)]
        db = dparameters[len(weights) : len(weights) + len(biases)]
        sample = {
            "activation_gradient_norm": [float(g.norm()) for g in dy],
            "weight_gradient_norm": [float(g.norm()) for g in dw],
            "scaled_gradient_norm": [scaled_norm(w, g) for w, g in zip(weights.values(), dw, strict=True)],
            "bias_gradient_norm": [float(g.norm()) for g in db],
            "other_gradient_norm": [float(g.norm()) for g in dparameters[len(weights) + len(biases) :]],
        }
        for name, values in sample.items():
            rows.setdefault(name, []).append(np.array(values, dtype=np.float64))
        rows.setdefault("input_gradient", []).append(dx[0].numpy())
        summed = [total + g for total, g in zip(summed, dw, strict=True)]
        logits.append(scores[0].detach().numpy())
    network.float()
    results = {name: np.stack(values) for name, values in rows.items()}
    results["batch_gradient_norm"] = np.array([float(total.norm()) / len(images) for total in summed])
    return Reference(np.stack(logits), results)


def scaled_norm(weight: Tensor, gradient: Tensor) -> float:
    """√Σ_c (‖W_c‖·‖dW_c‖)² over output channels c, which stand first in torch's Conv and Linear weights."""
    return float((weight.detach().flatten(1).norm(dim=1) * gradient.flatten(1).norm(dim=1)).norm())


class _outputs_of:  # noqa: N801 - reads as a phrase in a `with` statement
    """Collects the outputs of the named modules during the block."""

    def __init__(self, network: nn.Module, names: list[str]) -> None:
        self._network, self._names = network, names
        self._outputs: dict[str, Tensor] = {}
        self._hooks: list[Any] = []

    def __enter__(self) -> dict[str, Tensor]:
        for name in self._names:
            module = self._network.get_submodule(name)
            self._hooks.append(module.register_forward_hook(self._keep(name)))
        return self._outputs

    def _keep(self, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, arguments: Any, output: Tensor) -> None:
            self._outputs[name] = output

        return hook

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()


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
        forward: the ONNX graph that was exported from it, and `constants`, as `prepare` takes them.
        graphs: what was derived from `forward` in float32.
        images: float32 [8 or more, c, h, w].

    Raises:
        ParityError: a bound is missed. The bounds: logits 1e-4 · max(1, largest |logit|) in float32,
            norms 1e-3 relative in float32 (see `CONDITION_FACTOR`) and 1e-8 in float64.
    """
    double = prepare(to_float64(forward), constants=constants)
    runs: dict[tuple[Precision, GraphName], Run] = {}
    for name, model in graphs.items():
        runs["float32", name] = in_onnxruntime(model)
        runs["float64", name] = in_float64(differentiate(double, name))
    checks = []
    classes = np.arange(len(images), dtype=np.int64) % double.classes
    for batch in BATCHES:
        samples = images[:batch], classes[:batch]
        expected = reference(network, double.layers, double.other_parameters, *samples)
        rounded = reference(network, double.layers, double.other_parameters, *samples, torch.float32)
        bounds = {"float32": _float32_bounds(rounded, expected), "float64": _float64_bounds(expected)}
        for (precision, name), run in runs.items():
            answers = _answers(run, graphs[name], *samples)
            checks += [
                ParityCheck(
                    quantity=f"{name}: {output}",
                    reference=REFERENCE,
                    precision=precision,
                    batch=batch,
                    difference=difference(output, answers[output], expected),
                    bound=bound,
                )
                for output, bound in bounds[precision].items()
                if output in answers
            ]
    missed = [check for check in checks if not check.difference <= check.bound]
    if missed:
        raise ParityError(
            "; ".join(
                f"{check.quantity} differs from {check.reference} by {check.difference:.3g} "
                f"({check.precision}, batch {check.batch}; the bound is {check.bound:.3g})"
                for check in missed
            )
        )
    return tuple(checks)


def _answers(run: Run, model: onnx.ModelProto, images: np.ndarray, classes: np.ndarray) -> dict[str, np.ndarray]:
    """A graph's outputs as the service would report them: norms, measured at as many scales as needed."""
    available = {"input": images.astype(np.float32), "label": classes}
    feeds = {value.name: available[value.name] for value in model.graph.input if value.name in available}
    if all(value.name != "cotangent_scale" for value in model.graph.input):
        return run(feeds)
    return measure(lambda scale: run(feeds | {"cotangent_scale": scale}), len(images))


def difference(output: str, answer: np.ndarray, expected: Reference) -> float:
    """Of logits the largest absolute difference, of everything else the largest relative one."""
    if output == "logits":
        return float(np.abs(answer - expected.logits).max())
    return relative_difference(answer, expected.outputs[output], per_entry=output != "input_gradient")


def _float32_bounds(rounded: Reference, expected: Reference) -> dict[str, float]:
    """The ordinary bounds, loosened to what torch's own float32 loses on an ill-conditioned network."""
    size = max(1.0, float(np.abs(expected.logits).max()))
    bounds = {
        "logits": max(LOGIT_BOUND["float32"] * size, CONDITION_FACTOR * difference("logits", rounded.logits, expected))
    }
    for output, values in rounded.outputs.items():
        own = CONDITION_FACTOR * difference(output, values, expected)
        bounds[output] = max(NORM_BOUND["float32"], min(own, LOOSEST))
    return bounds


def _float64_bounds(expected: Reference) -> dict[str, float]:
    size = max(1.0, float(np.abs(expected.logits).max()))
    return {"logits": LOGIT_BOUND["float64"] * size, **dict.fromkeys(expected.outputs, NORM_BOUND["float64"])}
