"""The proof that travels with a bundle: every output against torch autograd in float64.

The reference is the torch network with its stored float32 parameters promoted to double. The
float32 column runs the bundle's graphs in ONNX Runtime; the float64 column runs the very same nodes
with every constant promoted, in onnx's reference evaluator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from export.gradient import to_float64
from service.bundle_schema import GraphName, Layer, OtherParameter, ParityCheck

Array = NDArray[Any]
Run = Callable[[dict[str, Array]], dict[str, Array]]
Precision = Literal["float32", "float64"]

LOGIT_BOUND = {"float32": 1e-4, "float64": 1e-10}
NORM_BOUND = {"float32": 1e-3, "float64": 1e-8}
BATCHES = (1, 8)
REFERENCE = "torch autograd, float64"


class ParityError(ValueError):
    """A measured difference exceeds its bound; the message names the quantity and both numbers."""


@dataclass(frozen=True)
class Reference:
    """What torch says, in float64: logits [n, k] and squared norms per sample, by output name."""

    logits: Array
    outputs: dict[str, Array]


def reference(
    network: nn.Module,
    layers: tuple[Layer, ...],
    other: tuple[OtherParameter, ...],
    images: Array,
    classes: Array,
) -> Reference:
    """Every output of the gradient graphs, by autograd, one sample at a time.

    Args:
        network: in inference mode; its parameters are promoted to double and restored.
        images: float32 [n, c, h, w]; classes: int64 [n].
    """
    network = network.double().eval()
    weights = {layer.name: network.get_parameter(f"{layer.name}.weight") for layer in layers}
    biases = {layer.name: network.get_parameter(f"{layer.name}.bias") for layer in layers if layer.bias}
    others = {entry.name: network.get_parameter(entry.name) for entry in other}
    parameters = [*weights.values(), *biases.values(), *others.values()]
    rows: dict[str, list[Array]] = {}
    summed = [torch.zeros_like(weight) for weight in weights.values()]
    logits = []
    for image, number in zip(images, classes, strict=True):
        x = torch.from_numpy(image[None]).double().requires_grad_(True)
        with _outputs_of(network, [layer.name for layer in layers]) as outputs:
            scores = network(x)
        loss = functional.cross_entropy(scores, torch.tensor([number]))
        activations = [outputs[layer.name] for layer in layers]
        gradients = torch.autograd.grad(loss, [*activations, *parameters, x])
        dy, dparameters, dx = gradients[: len(layers)], gradients[len(layers) : -1], gradients[-1]
        dw = dparameters[: len(weights)]
        db = dparameters[len(weights) : len(weights) + len(biases)]
        sample = {
            "activation_square": [float(g.square().sum()) for g in dy],
            "weight_square": [float(g.square().sum()) for g in dw],
            "scaled_square": [
                scaled_square(w, g, layer) for w, g, layer in zip(weights.values(), dw, layers, strict=True)
            ],
            "bias_square": [float(g.square().sum()) for g in db],
            "other_square": [float(g.square().sum()) for g in dparameters[len(weights) + len(biases) :]],
        }
        for name, values in sample.items():
            rows.setdefault(name, []).append(np.array(values, dtype=np.float64))
        rows.setdefault("input_gradient", []).append(dx[0].numpy())
        summed = [total + g for total, g in zip(summed, dw, strict=True)]
        logits.append(scores[0].detach().numpy())
    network.float()
    results = {name: np.stack(values) for name, values in rows.items()}
    results["batch_square"] = np.array([float(total.square().sum()) for total in summed])
    return Reference(np.stack(logits), results)


def scaled_square(weight: Tensor, gradient: Tensor, layer: Layer) -> float:
    """Σ_c ‖W_c‖²·‖dW_c‖² over output channels c, which stand first in torch's Conv and Linear weights."""
    return float((weight.detach().flatten(1).square().sum(1) * gradient.flatten(1).square().sum(1)).sum())


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


def in_onnxruntime(model: onnx.ModelProto) -> Run:
    """The float32 graph on ONNX Runtime's CPU provider."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, feeds), strict=True))


def in_float64(model: onnx.ModelProto) -> Run:
    """The same nodes in double precision, in onnx's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(to_float64(model))
    names = [output.name for output in model.graph.output]

    def run(feeds: dict[str, Array]) -> dict[str, Array]:
        promoted = {
            name: value.astype(np.float64) if np.issubdtype(value.dtype, np.floating) else value
            for name, value in feeds.items()
        }
        return dict(zip(names, evaluator.run(None, promoted), strict=True))

    return run


RUNNERS: dict[Precision, Callable[[onnx.ModelProto], Run]] = {"float32": in_onnxruntime, "float64": in_float64}


def verify(
    network: nn.Module,
    graphs: Mapping[GraphName, onnx.ModelProto],
    layers: tuple[Layer, ...],
    other: tuple[OtherParameter, ...],
    images: Array,
    precisions: tuple[Precision, ...] = ("float32", "float64"),
) -> tuple[ParityCheck, ...]:
    """Measure every output at batch 1 and 8; `images` float32 [8 or more, c, h, w].

    Raises:
        ParityError: a bound is missed. The bounds: logits 1e-4 · max(1, largest |logit|); norms
            1e-3 relative in float32, 1e-8 in float64.
    """
    checks = []
    classes = np.arange(len(images), dtype=np.int64) % 2
    for batch in BATCHES:
        expected = reference(network, layers, other, images[:batch], classes[:batch])
        for precision in precisions:
            for name, model in graphs.items():
                run = RUNNERS[precision](model)
                answers = run(_feeds(model, images[:batch], classes[:batch]))
                checks += list(_compare(name, answers, expected, precision, batch))
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


def _feeds(model: onnx.ModelProto, images: Array, classes: Array) -> dict[str, Array]:
    available = {
        "input": images.astype(np.float32),
        "label": classes,
        "cotangent_scale": np.ones(len(images), dtype=np.float32),
    }
    return {value.name: available[value.name] for value in model.graph.input}


def _compare(
    graph: GraphName, answers: dict[str, Array], expected: Reference, precision: Precision, batch: int
) -> Iterator[ParityCheck]:
    for output, answer in answers.items():
        if output == "logits":
            scale = max(1.0, float(np.abs(expected.logits).max()))
            difference = float(np.abs(answer - expected.logits).max())
            bound = LOGIT_BOUND[precision] * scale
        elif output in expected.outputs:
            difference = relative_difference(answer, expected.outputs[output], squares=output.endswith("_square"))
            bound = NORM_BOUND[precision]
        else:
            continue
        yield ParityCheck(
            quantity=f"{graph}: {output}",
            reference=REFERENCE,
            precision=precision,
            batch=batch,
            difference=difference,
            bound=bound,
        )


def relative_difference(answer: Array, expected: Array, squares: bool) -> float:
    """Largest relative difference of norms; of whole tensors, relative to their norm per sample.

    A square's relative error is twice its root's, so roots are compared. Where the reference is
    zero or not finite the answer must be the same: the difference is then 0 or 1.
    """
    if not expected.size:
        return 0.0
    if not squares:
        axes = tuple(range(1, expected.ndim))
        size = np.sqrt(np.square(expected).sum(axis=axes))
        return float((np.sqrt(np.square(answer - expected).sum(axis=axes)) / np.where(size > 0, size, 1)).max())
    root, truth = np.sqrt(answer.astype(np.float64)), np.sqrt(expected)
    ordinary = np.isfinite(truth) & (truth > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.abs(root - truth) / truth
    same = (root == truth) | (np.isnan(root) & np.isnan(truth))
    return float(np.where(ordinary, np.where(np.isfinite(relative), relative, 1.0), np.where(same, 0.0, 1.0)).max())
