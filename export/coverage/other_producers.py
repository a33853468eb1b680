"""Files that were not written by torch, and their comparison with torch.

`interpreted.py` runs a file's own nodes in torch in float64; autograd through it is the truth. The norms are
held to central differences too. The weights are those of the file, but weights that are all one number are
drawn anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import ModelProto, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from export.coverage.clearest import clearest
from export.coverage.interpreted import Interpreted
from export.coverage.measure import SAMPLES, Measurement, agreement
from export.graph.graph import STANDARD
from export.importing import ImportedModel, ImportOptions, import_classifier

DRAWN = 24
SEED = 7
STEP = 1e-7
"""Length of a step in the weights, or relative change of the loss, whichever moves the weights less."""
DIRECTIONS = 3


@dataclass(frozen=True)
class File:
    """A classifier as a file; `size` (height, width) chooses one where it takes images of any size."""

    name: str
    path: Path
    classes: int
    size: tuple[int, int] | None = None


def files() -> tuple[File, ...]:
    """List the files that are present: onnx's light models, one of this folder, and RapidOCR's where installed."""
    light = Path(onnx.__file__).parent / "backend/test/data/light"
    found = [File(path.stem, path, 1000) for path in sorted(light.glob("*.onnx"))]
    found.append(File("keras_small", Path(__file__).parent / "files/keras_small.onnx", 5))
    if (package := find_spec("rapidocr_onnxruntime")) and package.origin:
        path = Path(package.origin).parent / "models/ch_ppocr_mobile_v2.0_cls_infer.onnx"
        found.append(File("ch_ppocr_mobile_v2.0_cls", path, 2, (48, 192)))
    return tuple(found)


def producer(file: File) -> str:
    """Return the producer that the file names, and its opset."""
    model = onnx.load(file.path, load_external_data=False)
    opset = next(entry.version for entry in model.opset_import if entry.domain in STANDARD)
    return f"{model.producer_name} {model.producer_version}".strip() + f", opset {opset}"


def measure_file(file: File, keep: Callable[[ImportedModel, nn.Module], None] | None = None) -> Measurement:
    """Import a file, and compare it with torch per layer and sample and with central differences.

    Args:
        keep: called with the imported model and its network in torch, to serve them.

    Raises:
        GradientError: the importer refuses the file.
        AssertionError: the imported graph gives other scores than the file.
    """
    labels = tuple(f"class {number}" for number in range(file.classes))
    options = ImportOptions(labels=labels, mean=(0.0,) * 3, std=(1.0,) * 3, size=file.size)
    started = time.process_time()
    imported = import_classifier(file.path, options)
    _require_same_scores(file, imported)
    imported = with_drawn_weights(imported)
    network = Interpreted(imported).eval()
    batch = clearest(network, _images(imported, DRAWN), SAMPLES)
    if keep is not None:
        keep(imported, network)
    measured = agreement(imported, network, batch, started)
    measured.differences["differences"] = central_differences(network, batch)
    return measured


def _images(imported: ImportedModel, count: int) -> Tensor:
    shape = [dimension.dim_value for dimension in imported.model.graph.input[0].type.tensor_type.shape.dim[1:]]
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(SEED))


def _require_same_scores(file: File, imported: ImportedModel) -> None:
    """Compare ONNX Runtime's scores of the file on disk with those of what it was imported to."""
    image = _images(imported, 1).numpy()
    scores = []
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    for model in (onnx.load(file.path), imported.model):
        session = onnxruntime.InferenceSession(model.SerializeToString(), quiet, providers=["CPUExecutionProvider"])
        scores.append(session.run(None, {session.get_inputs()[0].name: image})[0].reshape(1, -1))
    theirs, ours = scores
    if theirs.min() >= 0 and abs(float(theirs.sum()) - 1) < 1e-3:  # the importer took a softmax off the file
        ours = functional.softmax(torch.from_numpy(ours), 1).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5 * max(1.0, float(np.abs(theirs).max())))


def with_drawn_weights(imported: ImportedModel) -> ImportedModel:
    """Draw anew the initializers whose entries are all equal, because equal weights pass no gradient on.

    A head of equal weights gives every feature the sum over classes of dL/dlogits, which is zero.
    """
    generator = np.random.default_rng(SEED)
    model = ModelProto()
    model.CopyFrom(imported.model)
    roles = dict(_roles(model))
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.size > 1 and (value == value.flat[0]).all():
            drawn = _drawn(roles.get(tensor.name, ""), value.shape, generator)
            tensor.CopyFrom(numpy_helper.from_array(drawn.astype(np.float32), tensor.name))
    return replace(imported, model=model, reference=None)


def _roles(model: ModelProto) -> Iterator[tuple[str, str]]:
    for node in model.graph.node:
        names = {"BatchNormalization": ("", "scale", "shift", "shift", "scale"), "Mul": ("scale", "scale")}
        yield from zip(node.input, names.get(node.op_type, ()), strict=False)
        if node.op_type == "Unsqueeze":
            readers = [reader.op_type for reader in model.graph.node if node.output[0] in reader.input]
            yield node.input[0], "scale" if readers == ["Mul"] else "shift"


def _drawn(role: str, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Draw weights by He's initialization, scales about 1, and everything else about 0."""
    if role == "scale":
        return generator.uniform(0.5, 1.5, shape)
    if role == "shift" or len(shape) < 2:
        return generator.normal(0.0, 0.1, shape)
    return generator.normal(0.0, np.sqrt(2.0 / np.prod(shape[1:])), shape)


def central_differences(network: nn.Module, batch: Tensor) -> float:
    """Compare Σ_l r_l·‖dW_l‖ with a central difference of the loss, for random r in [0.5, 1.5].

    The step moves every weight W_l along r_l·dW_l/‖dW_l‖ at once, in float64, for the first sample.

    Returns:
        The largest relative difference over `DIRECTIONS` draws of r.
    """
    network = network.double()
    parameters: list[Tensor] = [parameter for parameter in network.parameters() if parameter.ndim >= 2]
    image, label = batch[:1].double(), torch.tensor([0])
    loss = functional.cross_entropy(network(image), label)
    gradients = torch.autograd.grad(loss, parameters)
    norms = torch.stack([gradient.norm() for gradient in gradients])
    generator, worst = torch.Generator().manual_seed(SEED), 0.0
    for _ in range(DIRECTIONS):
        factors = torch.rand(len(parameters), generator=generator, dtype=torch.float64) + 0.5
        slope = float((factors * norms).sum())
        step = STEP * max(1.0, loss.item()) / max(1.0, slope)
        steps = [f * g / n if n else torch.zeros_like(g) for f, g, n in zip(factors, gradients, norms, strict=True)]
        losses = []
        with torch.no_grad():
            for sign in (1.0, -2.0):
                torch._foreach_add_(parameters, steps, alpha=sign * step)
                losses.append(functional.cross_entropy(network(image), label))
            torch._foreach_add_(parameters, steps, alpha=step)
        worst = max(worst, abs(float(losses[0] - losses[1]) / (2 * step * slope) - 1.0))
    network.float()
    return worst
