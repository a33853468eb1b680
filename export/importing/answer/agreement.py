"""Comparison with the file's own answer: once after its batch is freed, and at the end for the whole bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from export.graph.errors import UnsupportedGraph, one_line
from export.running import reference
from export.tracing.freeing import ADVICE
from service.contract.bundle_schema import LabelKindName
from service.contract.label_kinds import kind_called

Evaluator = Callable[[NDArray[Any]], NDArray[Any]]

TOLERANCE = 1e-4
ORDINARY_LOGIT = 10.0  # the rounding of larger logits shows in the probabilities
SEED = 0
MOVES = 8.0
"""Times as far as rounding of the image alone moves an answer, rounding on the way may move it."""
DRAWS = 4
"""Times that images are moved; the answer to one of them may stay by chance."""
LEAST_DETERMINED = 0.5
"""Share of the images for which the file's answer must be determined, so that the comparison says something."""


@dataclass(frozen=True)
class Reference:
    """The file's own answer: `probabilities` float64 [M, K] of `images`, the bundle's `input` [M, …].

    Rows of NaN belong to images for which the file has no finite answer. `answer` gives the file's own probabilities
    of other images of that shape. `label_kind` says what makes probabilities of logits.
    """

    images: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    answer: Evaluator
    label_kind: LabelKindName = "exclusive"

    def require(self, run: Evaluator) -> None:
        """Compare with the file's own answer the probabilities of the logits [M, K] that `run` gives of images.

        An answer of the file that moves when its image moves by rounding is not determined by float32: a network of
        random weights may answer so to a picture of one colour. The bundle's may differ by a few times as much as
        the file's own moves, for at most half of the images.

        Raises UnsupportedGraph where they differ.
        """
        known = ~np.isnan(self.probabilities).any(axis=1)
        if not known.any():
            self._require_none_finite(run(self.images))
            return
        own = self.probabilities[known]
        rows = run(self.images)[known].astype(np.float64)
        difference = np.abs(kind_called(self.label_kind).probabilities(rows) - own).max(axis=1)
        largest = np.abs(np.where(np.isfinite(rows), rows, 0)).max(axis=1)
        allowed = TOLERANCE * np.maximum(1.0, largest / ORDINARY_LOGIT)
        agrees = difference <= allowed
        if agrees.mean() >= LEAST_DETERMINED and not agrees.all():
            moved = [np.abs(self.answer(images)[known] - own).max(axis=1) for images in _moved_by_rounding(self.images)]
            agrees = difference <= allowed + MOVES * np.max(moved, axis=0)
        if not agrees.all():
            raise UnsupportedGraph(
                f"the bundle's probabilities differ from the file's own by {difference.max():.2g}: "
                "the graph means something else to us than to ONNX Runtime; please report it"
            )

    def _require_none_finite(self, logits: NDArray[Any]) -> None:
        """Raise UnsupportedGraph where logits [M, K] are finite for an image, although the file's own never are."""
        found = kind_called(self.label_kind).probabilities(logits)
        if not np.isnan(found).any(axis=1).all():
            raise UnsupportedGraph(
                "the file's own answer is NaN or infinite for every test picture, and the bundle's is not: the graph "
                "means something else to us than to ONNX Runtime; please report it"
            )


def _moved_by_rounding(images: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield the images with every number moved up or down by about the rounding of the largest, `DRAWS` times."""
    draw, step = np.random.default_rng(SEED), np.finfo(np.float32).eps * np.abs(images).max()
    for _ in range(DRAWS):
        yield images + draw.choice(np.array([-step, step], np.float32), images.shape)


def evaluator(model: ModelProto, *, as_served: bool = False) -> Evaluator:
    """Return the graph as a function of its input, run by ONNX Runtime, else by onnx's reference evaluator.

    With `as_served` ONNX Runtime optimizes it as far as the service has it do, which changes how integers are computed.
    The evaluator is used where ONNX Runtime is not installed or lacks an operator. Raises whatever either raises
    for a graph that does not run.
    """
    name = model.graph.input[0].name
    if find_spec("onnxruntime") is not None:
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import InvalidGraph

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1  # as in service; several threads spin while they wait for each other
        level = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if as_served else level.ORT_ENABLE_BASIC
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            return lambda images: np.asarray(session.run(None, {name: images})[0])
        except InvalidGraph:
            raise
        except Exception:
            pass  # an operator is newer than this runtime, or has no kernel here; onnx's evaluator may know it
    ready = reference.evaluator(model)
    return lambda images: np.asarray(next(iter(ready.run(None, {name: images}))))


def own_scores(file: ModelProto, images: NDArray[np.float32], *, as_served: bool = False) -> NDArray[np.float64]:
    """Return the file's own scores [M, K] of `images`, run at the batch it was exported for, else one by one.

    Raises UnsupportedGraph where it does not run.
    """
    tensor = file.graph.input[0].type.tensor_type
    batch = max(1, tensor.shape.dim[0].dim_value) if tensor.shape.dim else 1
    rows = np.arange(-(-len(images) // batch) * batch) % len(images)
    element = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    given = (np.rint(images) if np.issubdtype(element, np.integer) else images).astype(element)
    try:
        answer = evaluator(file, as_served=as_served)
        parts = [answer(given[rows[start : start + batch]]) for start in range(0, len(rows), batch)]
    except Exception as error:
        raise UnsupportedGraph(f"the file itself does not run ({one_line(error)})") from error
    flat = np.concatenate([np.asarray(part, dtype=np.float64).reshape(batch, -1) for part in parts])
    return np.asarray(flat[: len(images)])


def require_same_answers(baked: ModelProto, freed: ModelProto, batch: int) -> None:
    """Run twice the baked batch through `freed`, and in two halves through `baked`, and compare.

    Raises UnsupportedGraph where a sample's answer differs by more than 1e-4 of the largest finite one.
    """
    sizes = [dimension.dim_value for dimension in baked.graph.input[0].type.tensor_type.shape.dim]
    images = np.random.default_rng(SEED).standard_normal((2 * batch, *sizes[1:])).astype(np.float32)
    fixed = evaluator(baked)
    try:
        found = evaluator(freed)(images)
    except Exception as error:
        raise UnsupportedGraph(f"the batch of {batch} cannot be made free; {ADVICE}") from error
    expected = np.concatenate([fixed(images[:batch]), fixed(images[batch:])])
    scale = max(1.0, float(np.abs(expected).max(initial=0, where=np.isfinite(expected))))
    if found.shape != expected.shape or not np.allclose(
        found, expected, rtol=0, atol=TOLERANCE * scale, equal_nan=True
    ):
        raise UnsupportedGraph(f"the graph mixes its {batch} samples; {ADVICE}")
