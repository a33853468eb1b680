"""Small networks of torch, quantized by ONNX Runtime's own quantizer in every way that it knows."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

from export.coverage.files.exporters import by_tracing, by_tracing_one_image
from export.importing import ImportOptions

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

Array = NDArray[Any]
SIZE, CLASSES = 8, 5
OPTIONS = ImportOptions(labels=tuple("abcde"), mean=(0.0,) * 3, std=(1.0,) * 3, size=(SIZE, SIZE))
"""Pixels in [0, 1], as the files are calibrated for."""


class Branched(nn.Module):
    """Convolutions with a shortcut: plain, depthwise and pointwise, a Relu, a ReLU6, both kinds of pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.depth = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.point = nn.Conv2d(6, 6, 1)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.point(functional.relu6(self.depth(x))))
        x = functional.max_pool2d(x, 2)
        scores: torch.Tensor = self.head(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return scores


class Attentive(nn.Module):
    """One block of a vision transformer, written out: patches, attention, a perceptron with GELU."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.norm = nn.LayerNorm(8)
        self.query, self.key, self.value, self.out = (nn.Linear(8, 8) for _ in range(4))
        self.wide, self.narrow = nn.Linear(8, 16), nn.Linear(16, 8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.patches(image).flatten(2).transpose(1, 2)
        y = self.norm(x)
        shares = torch.softmax(self.query(y) @ self.key(y).transpose(1, 2) * 8**-0.5, dim=-1)
        x = x + self.out(shares @ self.value(y))
        x = x + self.narrow(functional.gelu(self.wide(x)))
        scores: torch.Tensor = self.head(x.mean(dim=1))
        return scores


NETWORKS: dict[str, Callable[[], nn.Module]] = {"branched": Branched, "attentive": Attentive}


def network(name: str) -> nn.Module:
    """The network with seeded weights, in evaluation mode."""
    torch.manual_seed(3)
    return NETWORKS[name]().eval()


def pictures(count: int = 4, seed: int = 7) -> NDArray[np.float32]:
    """Images well inside what the files are calibrated for."""
    return np.random.default_rng(seed).uniform(0.2, 0.8, (count, 3, SIZE, SIZE)).astype(np.float32)


class Calibration(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no annotations
    """The pictures, and others around them that reach further."""

    def __init__(self, name: str) -> None:
        wider = np.concatenate([pictures(4) * 1.25, pictures(4), np.ones((1, 3, SIZE, SIZE)), pictures(4) * 0.1])
        self._rest: Iterator[Array] = iter(wider.astype(np.float32))
        self._name = name

    def get_next(self) -> dict[str, Array] | None:
        image = next(self._rest, None)
        return None if image is None else {self._name: image[None]}


@contextmanager
def quietly() -> Iterator[None]:
    """Silence ONNX Runtime's quantizer, which gives advice."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def in_float(
    name: str, folder: Path, *, one_image: bool = False, ending: Callable[..., nn.Module] | None = None
) -> Path:
    """The network's float32 file."""
    path, net = folder / "float.onnx", network(name)
    export = by_tracing_one_image if one_image else by_tracing
    export(nn.Sequential(net, ending()) if ending else net, torch.from_numpy(pictures(2)), path)
    return path


def statically(
    path: Path, form: str, *, per_channel: bool = False, activations: str = "QUInt8", weights: str = "QInt8"
) -> Path:
    """The file quantized with calibration: `form` is QDQ or QOperator."""
    result = path.with_name("int8.onnx")
    with quietly():
        quantize_static(
            path,
            result,
            Calibration(onnx.load(path).graph.input[0].name),
            quant_format=QuantFormat[form],
            per_channel=per_channel,
            activation_type=QuantType[activations],
            weight_type=QuantType[weights],
        )
    return result


def dynamically(path: Path, *, per_channel: bool = False, weights: str = "QInt8") -> Path:
    """The file with weights in 8 bits and activations that are rounded as they come."""
    result = path.with_name("int8.onnx")
    with quietly():
        quantize_dynamic(path, result, per_channel=per_channel, weight_type=QuantType[weights])
    return result


def operators(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(path).graph.node}


def dequantized(path: Path, name: str) -> dict[str, torch.Tensor]:
    """The network's parameters, float64, with those that the file stores in 8 or 32 bits as they stand there.

    ONNX Runtime's quantizer stores `w` as `w_quantized` with `w_scale` and `w_zero_point`. Exporters transpose and
    rename weights, so each is put where it is nearest.
    """
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    found = {key: value.detach().double() for key, value in network(name).named_parameters()}
    for key, value in stored.items():
        stem = next((end for end in (key, key.removesuffix("_quantized")) if f"{end}_scale" in stored), None)
        if stem is None or not key.endswith("_quantized"):
            continue
        step = stored[f"{stem}_scale"].astype(np.float64)
        nought = stored.get(f"{stem}_zero_point", np.zeros(step.shape)).astype(np.float64)
        candidates = []
        for axis in range(value.ndim) if step.size > 1 else [0]:
            if step.size in (1, value.shape[axis]):
                shape = [-1 if at == axis else 1 for at in range(value.ndim)] if step.size > 1 else []
                floats = (value - nought.reshape(shape)) * step.reshape(shape)
                candidates += [floats, floats.T] if value.ndim == 2 else [floats]
        distance, target, nearest = min(
            (
                (float(np.abs(parameter.detach().numpy() - form).max()), target, form)
                for target, parameter in network(name).named_parameters()
                for form in candidates
                if form.shape == tuple(parameter.shape)
            ),
            key=lambda entry: entry[0],
            default=(np.inf, "", value),
        )
        if distance < 0.01 * float(np.abs(nearest).max()):
            found[target] = torch.from_numpy(nearest)
    return found
