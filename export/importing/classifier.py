"""Import of a classifier: from a file and its owner's flags to a model in the plain form of `export.standard`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from export.graph.edits import keep_only
from export.graph.graph import Graph
from export.importing.answer.agreement import Reference, require_same_answers
from export.importing.answer.appended import Appended
from export.importing.answer.judgement import judge
from export.importing.answer.logarithm_rules import RULES
from export.importing.answer.logarithms import Logarithms
from export.importing.answer.meaning import Judgement
from export.importing.answer.outputs import Head, chosen_head
from export.importing.answer.probes import probes
from export.importing.answer.scores import refuse_decisions, require_computed
from export.importing.file.image import ImageInput, image_input, with_open_sizes
from export.importing.file.plain import standardize
from export.importing.file.reading import not_finite, read_model, with_weights
from export.importing.file.unit_axis import without_unit_axis
from export.importing.flags.errors import faults_of
from export.importing.flags.labels import fitting_labels
from export.importing.flags.options import ImportOptions
from export.importing.types.taken import Quantized, Taken, taken_for_float32
from export.importing.weights.naming import name_weights, untrained, weights_as_initializers
from export.importing.weights.normalization import folded_normalization
from export.standard.cleaning import cleaned
from export.standard.ends import class_count, leading_axes, with_standard_ends
from export.tracing.folding import fold
from export.tracing.freeing import baked_batch, free_batch
from service.contract.bundle_schema import GraphName, InputSpec, LabelKindName


@dataclass(frozen=True)
class ImportedModel:
    """A classifier in plain form.

    `model` has our opset, one input `input` (N free, the other sizes fixed) and one output `logits` [N, K].
    `constants` names its initializers that are no trained parameters. `reference` is the file's own answer; it is
    None where the model has been given other weights since. `quantized` is there for a file of 8-bit integers.
    """

    model: ModelProto
    constants: tuple[str, ...]
    input: InputSpec
    labels: tuple[str, ...]
    label_kind: LabelKindName
    notes: tuple[str, ...]
    reference: Reference | None = None
    quantized: Quantized | None = None

    @property
    def references(self) -> dict[GraphName, Reference]:
        """Return what the bundle's graphs of these names must answer."""
        network = self.quantized.network if self.quantized else None
        found: dict[GraphName, Reference | None] = {"forward": self.reference, "weight_norms": network}
        return {graph: reference for graph, reference in found.items() if reference is not None}


def import_classifier(path: Path, options: ImportOptions, model: ModelProto | None = None) -> ImportedModel:
    """Read an ONNX image classifier of any producer; `model` is what was parsed of the file already.

    Raises:
        InvalidModel: the file is damaged, incomplete or not ONNX.
        UnsupportedGraph, UnsupportedOperator: the graph is not a float32 image classifier.
        OptionMismatch: a flag is missing or contradicts the graph.
    """
    with faults_of(path):
        whole = read_model(path) if model is None else with_weights(model, path.parent)
        return _imported(path, whole, options)


@dataclass(frozen=True)
class _Opened:
    """A file in plain terms, whose ends are still its own: `model`, and as a `graph`, reads `image`."""

    model: ModelProto
    graph: Graph
    image: ImageInput
    head: Head
    taken: Taken
    notes: tuple[str, ...]


def _imported(path: Path, model: ModelProto, options: ImportOptions) -> ImportedModel:
    # Both ends: what the scores mean decides which tensor is `logits`.
    opened = _opened(path, model, options)
    model, graph, spec, taken = opened.model, opened.graph, opened.image.spec, opened.taken
    scores_in_file = class_count(graph, graph.output)
    labels, label_notes = fitting_labels(options.labels, opened.head.labels, scores_in_file, options.labels_source)
    images = probes(spec, bytes_only=opened.image.integers)
    added = Appended(model)
    scores = taken.scores(images)
    answer = _judged(scores, opened, added, options)
    notes = [*opened.notes, *label_notes, *taken.differences(scores, images), *([answer.note] if answer.note else [])]
    reference = Reference(images, answer.probabilities, partial(_own_answer, path, options), answer.label_kind)
    lead = leading_axes(graph.shapes.get(answer.logits, ()))
    model = keep_only(added.to(model), answer.logits)
    plain = with_standard_ends(model, graph.input, answer.logits, lead)
    return ImportedModel(
        model=plain,
        constants=tuple(dict.fromkeys((*untrained(model), *added.constants))),
        input=spec,
        labels=labels,
        label_kind=answer.label_kind,
        notes=tuple(notes),
        reference=reference,
        quantized=taken.quantized(model, answer.logits, plain, spec, reference),
    )


def _opened(path: Path, model: ModelProto, options: ImportOptions) -> _Opened:
    # The file as it is: `file` is what its own answer is asked of later.
    producer = " ".join(part for part in (model.producer_name, model.producer_version) if part)
    head = chosen_head(model, options.output, len(options.labels) if options.labels else None, options.labels_are)
    output = head.output
    require_computed(model, output)
    model, training_notes = cleaned(model, contract=False)
    model, axis_notes = without_unit_axis(model)
    file = with_open_sizes(keep_only(model, output))

    # Plain terms: one opset, float32, weights under their names, an image as input.
    taken = taken_for_float32(file, output)
    model = weights_as_initializers(standardize(name_weights(taken.network), taken.output))
    refuse_decisions(model, taken.output)
    image = image_input(model, options)
    model = image.model
    notes = [f"imported from {path.name}" + (f", written by {producer}" if producer else "")]
    notes += [*not_finite(file), *head.notes, *training_notes, *axis_notes, *image.notes, *taken.notes]
    notes += folded_normalization(taken.network)

    # A batch that any number of samples fits.
    batch = baked_batch(model)
    if batch is not None:
        baked, model = model, free_batch(model, batch)
        require_same_answers(baked, model, batch)
        notes.append(f"the file was exported for batches of {batch}; the batch axis was made free")
    return _Opened(model, _folded(model, image.spec), image, head, taken, tuple(notes))


def _own_answer(path: Path, options: ImportOptions, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what the file answers to images; it is read again, because few imports ask and none should hold it."""
    opened = _opened(path, read_model(path), options)
    return _judged(opened.taken.scores(images), opened, Appended(opened.model), options).probabilities


def _judged(scores: NDArray[np.float64], opened: _Opened, added: Appended, options: ImportOptions) -> Judgement:
    graph = opened.graph
    return judge(scores, graph.output, Logarithms(graph, added, RULES), added, options.labels_are)


def _folded(model: ModelProto, spec: InputSpec) -> Graph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # constants may overflow; the engine deals with them
        return fold(model, spec.image_shape)
