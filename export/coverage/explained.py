"""Explanations by grad-cam and captum, compared with those of a bundle's graph.

Both packages run the architecture's own network in torch, in float64 where it runs so. grad-cam needs a module whose
output is the layer's map. That is found by its numbers: the map of the bundle's graph `feature_maps` is compared with
what every module gives.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from export.coverage.architectures.architecture import CLASSES, build, images
from export.coverage.measure import (
    SAMPLES,
    Imported,
    classes_of,
    forgetful,
    imported,
    plain_options,
    runs_in_float64,
)
from export.coverage.truth.clearest import clearest
from export.coverage.truth.compare import VANISHING
from export.coverage.truth.formula import NormalizedByFormula
from export.coverage.truth.precision import default_precision
from export.graph.errors import GradientError
from export.verification.parity import CONDITION_FACTOR
from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import GraphName
from service.contract.norms import measure
from service.contract.runtime.opening import Runtime
from service.contract.runtime.runs import RunHandle

DRAWN = 8
"""Images among which the clearest are chosen."""
STEPS = 64
"""Points of the path of integrated gradients."""
THE_SAME = 1e-4
"""Part of the largest entry by which a module's output may differ from a map."""
BOUND = 1e-4
"""Most difference, as a part of a sample's largest entry; four times what the packages' float32 loses, where that is
more."""
Modules = Mapping[int, tuple[nn.Module, bool]]
"""Index of a layer → the module that gives its map, and whether its channels are last."""
Explain = Callable[[np.ndarray, int], dict[str, Array]]
"""The bundle's graph: images and `layer` → outputs, measured at as many scales as needed."""


def explained_row(key: str, path: Path) -> dict[str, Any]:
    """Compare a file's bundle with both packages.

    Returns:
        The row: its `status`; `grad_cam` and `integrated_gradients`, the largest differences as parts of each sample's
        largest entry (None without a map), and by `rounding` what the packages' own float32 differs by from their
        float64, where a difference exceeds `BOUND`; `layers`, how many were compared, and `mapped`, how many have a
        map; `incomplete`, the largest part of the rise of a logit that integrated gradients do not sum to.
    """
    from export.coverage.architectures.listed import ARCHITECTURES

    architecture = ARCHITECTURES[key]
    network = build(architecture)
    batch = clearest(network, images(architecture, DRAWN), SAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = imported(path, plain_options(CLASSES), Path(folder))
        except GradientError as error:
            return {"status": "refused", "sentence": str(error)}
        explain, maps = _explaining(found), _maps(found, batch.numpy())
    dtype = torch.float64 if runs_in_float64(network, batch[:1]) else torch.float32
    with _in(dtype, network):
        modules = _modules_giving(network, batch.to(dtype), maps)
    ours = {index: explain(batch.numpy(), index)["layer_evidence"] for index in modules}
    integrals, rise = integrated(explain, batch.numpy(), classes_of(SAMPLES, CLASSES))
    theirs = _by_packages(network, batch, modules, dtype)
    differences = _differences((ours, integrals), theirs)
    row: dict[str, Any] = {"mapped": len(maps), "layers": len(modules)} | differences
    row["incomplete"] = float((np.abs(integrals.sum(axis=1) - rise) / np.abs(rise)).max())
    exceeding = [name for name, value in differences.items() if value is not None and not value <= BOUND]
    if exceeding:
        row["rounding"] = _differences(_by_packages(network, batch, modules, torch.float32), theirs)
    wrong = [name for name in exceeding if not differences[name] <= CONDITION_FACTOR * row["rounding"][name]]
    return row | {"status": "wrong" if wrong else "rounding" if exceeding else "right"}


@contextmanager
def _in(dtype: torch.dtype, network: nn.Module) -> Iterator[None]:
    """Have the network compute in `dtype` within the block, everything anew in every call."""
    with default_precision(dtype), forgetful(network), NormalizedByFormula():
        network.to(dtype)
        yield
    network.float()


Explained = tuple[Mapping[int, np.ndarray], np.ndarray]
"""Index of a layer → its evidence; and integrated gradients."""


def _by_packages(network: nn.Module, batch: Tensor, modules: Modules, dtype: torch.dtype) -> Explained:
    with _in(dtype, network):
        x = batch.to(dtype)
        evidence = {index: _grad_cam(network, module, x, last) for index, (module, last) in modules.items()}
        return evidence, _by_captum(network, x)


def _differences(found: Explained, expected: Explained) -> dict[str, float | None]:
    maps = [of_the_largest(found[0][index], values) for index, values in expected[0].items()]
    return {"grad_cam": max(maps, default=None), "integrated_gradients": of_the_largest(found[1], expected[1])}


def _explaining(found: Imported) -> Explain:
    run = _opened(found, "explanation")
    labels = np.array(classes_of(SAMPLES, CLASSES), dtype=np.int64)

    def explain(images: np.ndarray, layer: int) -> dict[str, Array]:
        chosen = {"input": images, "label": np.resize(labels, len(images)), "layer": np.array([layer])}
        return measure(lambda scale: run(chosen | {"cotangent_scale": scale}), len(images))

    return explain


def _maps(found: Imported, images: np.ndarray) -> dict[int, np.ndarray]:
    """Return index of a layer → its map [n, c, h, w], for every layer that has one."""
    outputs = _opened(found, "feature_maps")({"input": images})
    return {index: outputs[f"map/{layer.name}"] for index, layer in enumerate(found.bundle.layers) if layer.map_size}


def _opened(found: Imported, graph: GraphName) -> Callable[[dict[str, Any]], dict[str, Array]]:
    session = Runtime("cpu").open(found.folder / found.bundle.graphs[graph].file)
    return lambda feeds: session.run(feeds, RunHandle(quiet=True))


# ── Grad-CAM ──────────────────────────────────────────────────────────────────────────────────────


def _modules_giving(network: nn.Module, x: Tensor, maps: Mapping[int, np.ndarray]) -> Modules:
    """Return for up to three layers the outermost module that gives the map in its only call.

    They are the last, the first and one between, of the layers whose maps a module gives.
    """
    given: list[tuple[nn.Module, Tensor, Tensor]] = []

    def note(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor):
            given.append((module, output, output.clone()))

    handles = [module.register_forward_hook(note) for module in network.modules()]
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    calls = [module for module, *_ in given]
    found: dict[int, tuple[nn.Module, bool]] = {}
    for module, output, copy in given:
        overwritten = not torch.equal(output, copy)  # what follows works in place, and grad-cam would see its result
        if output.ndim != 4 or calls.count(module) > 1 or overwritten:
            continue
        for channels_last in (False, True):
            shown = (output.permute(0, 3, 1, 2) if channels_last else output).numpy()
            for index, values in maps.items():
                if shown.shape == values.shape and of_the_largest(values, shown) < THE_SAME:
                    found[index] = module, channels_last
    known = sorted(found)
    return {index: found[index] for index in sorted({known[0], known[len(known) // 2], known[-1]} if known else ())}


def _grad_cam(network: nn.Module, module: nn.Module, x: Tensor, channels_last: bool) -> np.ndarray:
    """Return grad-cam's map before its rectifier and its scaling, [n, h, w]."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    class Unscaled(GradCAM):  # type: ignore[misc]
        def get_cam_image(self, x: Any, layer: Any, wanted: Any, maps: Any, gradients: Any, smooth: Any = False) -> Any:
            self.image = super().get_cam_image(x, layer, wanted, maps, gradients, smooth)
            terms = np.abs(gradients).mean((2, 3), keepdims=True) * np.abs(maps)
            # Before a softmax over positions the mean gradient is zero by mathematics, and what is left is rounding.
            self.image[np.abs(self.image).max((1, 2)) < VANISHING * terms.sum(1).max((1, 2))] = 0
            return self.image

    targets = [ClassifierOutputTarget(number) for number in classes_of(len(x), CLASSES)]
    reshape = (lambda tensor: tensor.permute(0, 3, 1, 2)) if channels_last else None
    with Unscaled(network, [module], reshape) as cam:
        cam(x.clone().requires_grad_(True), targets)
        image: np.ndarray = cam.image
    return image.reshape(len(x), -1)


# ── integrated gradients ──────────────────────────────────────────────────────────────────────────


def _by_captum(network: nn.Module, x: Tensor) -> np.ndarray:
    from captum.attr import IntegratedGradients

    classes = torch.tensor(classes_of(len(x), CLASSES))
    attributed = IntegratedGradients(network).attribute(
        x, baselines=0, target=classes, n_steps=STEPS, method="gausslegendre", internal_batch_size=len(x)
    )
    found: np.ndarray = attributed.detach().numpy().reshape(len(x), -1)
    return found


def integrated(explain: Explain, images: np.ndarray, classes: Sequence[int]) -> tuple[Float64, Float64]:
    """Integrate the logit's gradient from black to each image by Gauss and Legendre's rule of `STEPS` points.

    Returns:
        The attributions, [n, image numbers], and by how much the logit rises on the way, [n].
    """
    nodes, weights = np.polynomial.legendre.leggauss(STEPS)
    total: Float64 = np.zeros((len(images), images[0].size))
    for node, weight in zip(nodes, weights, strict=True):
        point = (images * ((1 + node) / 2)).astype(np.float32)
        total += weight / 2 * explain(point, -1)["logit_gradient"]
    ends = [explain(point, -1)["logits"][np.arange(len(images)), classes] for point in (images, 0 * images)]
    return total * images.reshape(len(images), -1), np.asarray(ends[0] - ends[1], dtype=np.float64)


def of_the_largest(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference as a part of each sample's largest entry, where that is not zero."""
    rows, largest = tuple(range(1, expected.ndim)), np.abs(expected)
    vanishing = largest.max(axis=rows) == 0
    found, expected, largest = found[~vanishing], expected[~vanishing], largest[~vanishing]
    parts = np.abs(found - expected).max(axis=rows) / np.maximum(largest.max(axis=rows), np.finfo(np.float32).tiny)
    return float(parts.max(initial=0.0))
