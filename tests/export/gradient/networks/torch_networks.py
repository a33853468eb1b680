"""Whole torch networks beside their gradient graphs."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn import functional

from export.gradient import OPSET, Prepared, prepare, to_float64
from models.networks.network import Network, architecture

Labels = Sequence[int] | np.ndarray
Module = TypeVar("Module", bound=nn.Module)


def randomised(network: Module, seed: int = 0) -> Module:
    """The network in inference mode, every BatchNorm with its own statistics and affine."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.3, 0.3),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
            ):
                assert tensor is not None
                tensor.data.uniform_(low, high, generator=generator)
            module.weight.data[::3] *= -1
    return network.eval()


def catalogued(name: str, seed: int = 0) -> Network:
    """One of our networks with random weights and normalization."""
    torch.manual_seed(seed)
    return randomised(Network(architecture(name)), seed)


def exported(network: nn.Module, image: Sequence[int]) -> onnx.ModelProto:
    """The network's ONNX with a free batch, BatchNorm kept."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older exporter is deprecated; it is the quicker one
        torch.onnx.export(
            network,
            (torch.zeros(2, *image),),
            buffer,  # type: ignore[arg-type]  # torch 2.9 forgot files in its annotation, not in its code
            dynamo=False,
            input_names=["images"],
            output_names=["scores"],
            dynamic_axes={"images": {0: "N"}, "scores": {0: "N"}},
            opset_version=OPSET,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
        )
    return onnx.load_from_string(buffer.getvalue())


def prepared(network: nn.Module, image: Sequence[int] = (3, 32, 32), double: bool = False) -> Prepared:
    """The network, ready to be differentiated; option-A kernels are constants (traced as Constant nodes)."""
    model = exported(network, image)
    constants = [name for node in model.graph.node if node.op_type == "Constant" for name in node.output]
    return prepare(to_float64(model) if double else model, constants=constants)


def run(
    model: onnx.ModelProto, image: np.ndarray, label: Labels, scale: float | np.ndarray = 1.0
) -> dict[str, np.ndarray]:
    """The gradient graph's outputs on ONNX Runtime, by name."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = feeds(image, label, scale)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {i.name: given[i.name] for i in session.get_inputs()}), strict=True))


def feeds(image: np.ndarray, label: Labels, scale: float | np.ndarray = 1.0) -> dict[str, np.ndarray]:
    """Inputs of a gradient graph in the image's precision."""
    scales = np.broadcast_to(np.asarray(scale, dtype=image.dtype), (len(image),))
    return {"input": image, "label": np.array(label, dtype=np.int64), "cotangent_scale": scales}


def by_autograd(network: nn.Module, ready: Prepared, image: np.ndarray, label: Sequence[int]) -> dict[str, np.ndarray]:
    """Squared norms per sample and of the batch by torch in float64, one sample at a time."""
    network = network.double()
    parameters = dict(network.named_parameters())
    weights = {layer.name: parameters[f"{layer.name}.weight"] for layer in ready.layers}
    rows: dict[str, list[list[float]]] = {}
    gradients_of: list[list[torch.Tensor]] = []
    images = []
    for sample, number in zip(torch.from_numpy(image).double(), label, strict=True):
        outputs: dict[str, torch.Tensor] = {}
        hooks = [
            network.get_submodule(name).register_forward_hook(
                lambda module, _, y, name=name, outputs=outputs: outputs.setdefault(name, y) is None or None
            )
            for name in weights
        ]
        x = sample[None].clone().requires_grad_()
        scores = network(x)
        number = int(scores.argmax()) if number < 0 else number
        loss = functional.cross_entropy(scores, torch.tensor([number]))
        names = list(parameters)
        wanted = [*(outputs[name] for name in weights), *parameters.values(), x]
        found = torch.autograd.grad(loss, wanted)
        for hook in hooks:
            hook.remove()
        dy, dx = found[: len(weights)], found[-1]
        dp = dict(zip(names, found[len(weights) : -1], strict=True))
        dw = [dp[f"{name}.weight"] for name in weights]
        squares = {
            "activation_square": [g.square().sum() for g in dy],
            "weight_square": [g.square().sum() for g in dw],
            "scaled_square": [
                (w.flatten(1).square().sum(1) * g.flatten(1).square().sum(1)).sum()
                for w, g in zip(weights.values(), dw, strict=True)
            ],
            "bias_square": [dp[f"{layer.name}.bias"].square().sum() for layer in ready.layers if layer.bias],
            "other_square": [dp[other.name].square().sum() for other in ready.other_parameters],
        }
        for key, values in squares.items():
            rows.setdefault(key, []).append([value.item() for value in values])
        gradients_of.append([g.detach() for g in dw])
        images.append(dx[0].numpy())
    result = {key: np.array(values) for key, values in rows.items()}
    result["batch_square"] = np.array([sum(g).square().sum().item() for g in zip(*gradients_of, strict=True)])
    result["input_gradient"] = np.stack(images)
    network.float()
    return result
