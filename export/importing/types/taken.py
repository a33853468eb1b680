"""A file taken for a float32 network, whatever types it computes in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from export.graph.edits import keep_only
from export.graph.errors import UnsupportedGraph
from export.graph.graph import OPSET
from export.graph.names import OWN
from export.importing.answer.agreement import TOLERANCE, Evaluator, Reference, evaluator, own_scores
from export.importing.answer.probes import pictures
from export.importing.types.differences import rounding_note
from export.importing.types.ending import ending_of
from export.importing.types.floating import promoted
from export.importing.types.own_graph import OwnGraph, batch_of, mixes_samples, with_plain_ends
from export.importing.types.rules import INTEGER_OPERATORS, RULES
from export.importing.types.translation import Translation
from export.standard.opset import at_our_opset, opset_of
from service.contract.bundle_schema import InputSpec, Quantization
from service.contract.label_kinds import kind_called

DEQUANTIZED = "weights that the file stores as integers are taken as the floats they stand for"
TRIED = 3
"""Probes that are run in one batch to see whether a file's batch can be made free."""
BEFORE_ROUNDING = "the file rounds its answer to integers: it is taken before that"


@dataclass(frozen=True)
class Quantized:
    """A file of integers: its own graph, for predictions, and how far the float network is from it.

    - `forward`: the file's graph, from `input` to `logits`; None where only weights are integers, so that the float
      network computes the same.
    - `record`: what the bundle says of the difference.
    - `network`: the answers of the float network, for the graphs that are derived from it.
    """

    forward: ModelProto | None
    record: Quantization
    network: Reference


@dataclass(frozen=True)
class Taken:
    """A file and the float network that it is taken for.

    - `network`: computes in float32 throughout; gradients are derived from it.
    - `asked`: the file as far as it can be run in float32: what its scores are asked of. Its integers are its own.
    - `output`: the network's tensor of scores.
    - `notes`: for whoever reads the norms.
    """

    network: ModelProto
    output: str
    asked: ModelProto
    notes: tuple[str, ...]
    _file: ModelProto
    _types: tuple[str, ...]
    _own: OwnGraph | None = None
    _rounds: Literal["weights", "activations"] | None = None

    def scores(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the scores [M, K] that the file gives `images`, in float32 where it computes in other floats."""
        return own_scores(self.asked, images, as_served=self._own is not None)

    def differences(self, scores: NDArray[np.float64], images: NDArray[np.float32]) -> tuple[str, ...]:
        """Return a note on how far the file's own answers are from `scores`, where it computes in other floats."""
        return (rounding_note(self._file, self._types, scores, images),) if self._types else ()

    def quantized(
        self, network: ModelProto, logits: str, plain: ModelProto, spec: InputSpec, own: Reference
    ) -> Quantized | None:
        """Return the file's own graph with our ends, and measure the float network against it; None for float files.

        `logits` is a tensor of `network`, `plain` that network with our ends, `own` the file's answers to the probes,
        of which the first are pictures: only they are counted.

        Raises UnsupportedGraph where none of the answers is finite.
        """
        if self._rounds is None:
            return None
        forward = _batched(self._own.up_to(logits, network), spec, own) if self._own is not None else None
        seen = len(pictures(spec))

        def answer(images: NDArray[np.float32]) -> NDArray[np.float64]:
            return _probabilities(evaluator(plain), images, own)

        found = answer(own.images)
        difference = np.abs(found - own.probabilities)[:seen].max(axis=1)
        known = difference[~np.isnan(difference)]
        if not len(known):
            raise UnsupportedGraph(
                "the answer of this int8 file is NaN or infinite for every test picture, so it cannot be measured how "
                "far the float network that it stands for is from it"
            )
        predicted = kind_called(own.label_kind).predicted
        other = (predicted(found[:seen]) != predicted(own.probabilities[:seen])).any(axis=1)
        record = Quantization(
            rounded=self._rounds,
            probability_difference=float(f"{known.max():.3g}"),
            other_class=int(other[~np.isnan(difference)].sum()),
            images=len(known),
        )
        return Quantized(forward, record, Reference(own.images, found, answer, own.label_kind))


def _batched(model: ModelProto, spec: InputSpec, own: Reference) -> ModelProto:
    """Return the file's graph with our ends and a free batch: all samples at once if its answers are then its `own`."""
    ends = partial(with_plain_ends, model, spec.image_shape, own.probabilities.shape[1])
    if not mixes_samples(model):
        free = ends(one_by_one=False)
        if batch_of(model) is None or _answers(free, own):
            return free
    return ends(one_by_one=True)


def _answers(model: ModelProto, own: Reference) -> bool:
    """Tell whether a model gives the first probes, in one batch, the answers `own`."""
    images, expected = own.images[:TRIED], own.probabilities[:TRIED]
    try:
        found = _probabilities(evaluator(model, as_served=True), images, own)
    except Exception:  # the batch is baked into the graph
        return False
    return found.shape == expected.shape and np.allclose(found, expected, rtol=0, atol=TOLERANCE, equal_nan=True)


def _probabilities(run: Evaluator, images: NDArray[np.float32], own: Reference) -> NDArray[np.float64]:
    """Return what /predict answers to the logits that a model gives `images`."""
    return kind_called(own.label_kind).probabilities(run(images).astype(np.float64))


def taken_for_float32(file: ModelProto, output: str) -> Taken:
    """Take `file`, cut down to `output`, for a float32 network.

    Raises UnsupportedOperator for an operator on integers that is not known.
    """
    wide = promoted(file)
    if not any(node.op_type in INTEGER_OPERATORS for node in wide.model.graph.node):
        return Taken(wide.model, output, wide.model, (), file, wide.types)
    model = at_our_opset(wide.model) if opset_of(wide.model) < OPSET else wide.model
    ending = ending_of(model, output)
    translation = Translation(model, RULES, ending)
    network = translation.run()
    answer = f"{output}{OWN}float" if output in translation.integers else output
    network = keep_only(network, answer)
    own = OwnGraph(model, translation.integers, translation.unlike | ending.behind_softmax)
    asked = own.up_to(answer, network) if ending.behind_softmax or answer != output else model
    notes = [DEQUANTIZED] if translation.dequantizes else []
    notes += [BEFORE_ROUNDING] if ending.behind_softmax else []
    if translation.rounds:
        return Taken(network, answer, asked, tuple(notes), file, wide.types, own, "activations")
    return Taken(
        network, answer, asked, tuple(notes), file, wide.types, None, "weights" if translation.dequantizes else None
    )
