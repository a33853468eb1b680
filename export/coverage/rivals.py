"""Other packages that differentiate an ONNX file: whether each finds the file's input gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.coverage.children import Died, OutOfTime, Raised, in_child
from export.verification.parity import relative_difference

WITHIN = 120.0
"""Seconds that each has for one file."""
BOUND = 1e-2
"""Relative difference of a sample's gradient that still counts as right; generous, as float32 loses digits."""


@dataclass(frozen=True)
class Asked:
    """A question about a file: the gradient of the summed loss −log p(class) with regard to its images.

    Args:
        images: float32 [n, …].
        classes: one per image.
        expected: the gradient by torch in float64.
        are_probabilities: the file's scores are probabilities already, not logits.
    """

    images: np.ndarray
    classes: list[int]
    expected: np.ndarray
    are_probabilities: bool = False

    def first(self) -> Asked:
        """Return the question for the first image alone."""
        return replace(self, images=self.images[:1], classes=self.classes[:1], expected=self.expected[:1])


Gradient = Callable[[Path, Asked], np.ndarray]


def onnx2torch(path: Path, asked: Asked) -> np.ndarray:
    """Convert to torch.fx and let autograd differentiate."""
    from onnx2torch import convert

    return _by_autograd(convert(onnx.load(path)), asked)


def onnx2pytorch(path: Path, asked: Asked) -> np.ndarray:
    """Convert to a torch module, with the package's switch for batches of more than one, and let autograd work."""
    from onnx2pytorch import ConvertModel

    return _by_autograd(ConvertModel(onnx.load(path), experimental=True), asked)


def onnx_ad(path: Path, asked: Asked) -> np.ndarray:
    """Reverse the graph at a fixed batch; the cotangent comes from the file's own scores."""
    import onnx_ad as package
    import onnxruntime

    model = onnx.load(path)
    source, scores = _ends(model)
    for value in (*model.graph.input, *model.graph.output):
        if value.name in (source, scores):
            value.type.tensor_type.shape.dim[0].dim_value = len(asked.images)
    del model.graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    forward = onnxruntime.InferenceSession(model.SerializeToString(), quiet, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(forward.run([scores], {source: asked.images})[0]).requires_grad_(True)
    (seed,) = torch.autograd.grad(_loss(found, asked), found)
    reverse = package.reverse(model, inputs=[source], outputs=[scores], layout="onnx")
    session = onnxruntime.InferenceSession(reverse.SerializeToString(), quiet, providers=["CPUExecutionProvider"])
    seeds = [value.name for value in session.get_inputs() if value.name != source]
    feeds = {source: asked.images, seeds[0]: seed.numpy()[..., None]}
    gradient: np.ndarray = session.run([session.get_outputs()[-1].name], feeds)[0]
    return gradient[..., 0]


RIVALS: dict[str, Gradient] = {"onnx2torch": onnx2torch, "onnx2pytorch": onnx2pytorch, "onnx-ad": onnx_ad}


def judged(path: Path, asked: Asked) -> dict[str, str]:
    """Return for every rival "right", "wrong", or why it gives no gradient.

    Each is asked about the batch, and where that fails, about the first image alone.
    """
    return {name: _judged(name, path, asked) for name in RIVALS}


def _judged(name: str, path: Path, asked: Asked) -> str:
    verdict = ""
    for question in (asked, asked.first()):
        try:
            found = in_child(_gradient, name, path, question, seconds=WITHIN)
        except (OutOfTime, Died, Raised) as error:
            verdict = verdict or str(error).splitlines()[0][:200]
            continue
        if found.shape == question.expected.shape:
            difference = relative_difference(found.astype(np.float64), question.expected, per_entry=False)
            if difference <= BOUND:
                return "right"
        verdict = "wrong"
    return verdict


def _gradient(name: str, path: Path, asked: Asked) -> np.ndarray:
    return RIVALS[name](path, asked)


def _by_autograd(module: nn.Module, asked: Asked) -> np.ndarray:
    images = torch.from_numpy(asked.images).requires_grad_(True)
    answer: Any = module.eval()(images)
    scores = answer[0] if isinstance(answer, (tuple, list)) else answer
    (gradient,) = torch.autograd.grad(_loss(scores, asked), images)
    return gradient.numpy()


def _loss(scores: Tensor, asked: Asked) -> Tensor:
    logarithms = scores.flatten(1).log() if asked.are_probabilities else scores.log_softmax(1)
    return functional.nll_loss(logarithms, torch.tensor(asked.classes), reduction="sum")


def _ends(model: onnx.ModelProto) -> tuple[str, str]:
    stored = {tensor.name for tensor in model.graph.initializer}
    source = next(value.name for value in model.graph.input if value.name not in stored)
    return source, model.graph.output[0].name
