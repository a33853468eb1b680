"""From a file and what its owner says of it to a graph that the gradient engine takes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from onnx import ModelProto

from export.gradient.errors import UnsupportedGraph
from export.gradient.folding import fold
from export.gradient.inference import in_inference
from export.gradient.names import distinct_names
from export.importing.agreement import require_same_answers
from export.importing.batch import baked_batch, free_batch
from export.importing.errors import OptionMismatch, faults_of
from export.importing.head import chosen_output, logits_behind, with_standard_ends
from export.importing.image import image_input, with_open_sizes
from export.importing.normalization import folded_normalization
from export.importing.options import ImportOptions
from export.importing.order import in_order, require_computed
from export.importing.reading import read_model
from export.importing.standard import inlined, keep_only, standardize
from export.importing.weights import name_weights, untrained, weights_as_initializers
from service.bundle_schema import InputSpec


@dataclass(frozen=True)
class ImportedModel:
    """A classifier in the engine's terms.

    `model` has the pinned opset, one input `input` (N free, the rest static) and one output
    `logits` [N, K]; `constants` names its initializers that are no trained parameters.
    """

    model: ModelProto
    constants: tuple[str, ...]
    input: InputSpec
    labels: tuple[str, ...]
    notes: tuple[str, ...]


def import_classifier(path: Path, options: ImportOptions) -> ImportedModel:
    """Read an ONNX image classifier of any producer.

    Raises:
        InvalidModel: the file is damaged, incomplete or not ONNX.
        UnsupportedGraph, UnsupportedOperator: the graph is no float32 image classifier.
        OptionMismatch: a flag is missing or contradicts the graph.
    """
    with faults_of(path):
        return _imported(path, options)


def _imported(path: Path, options: ImportOptions) -> ImportedModel:
    model = read_model(path)
    producer = " ".join(part for part in (model.producer_name, model.producer_version) if part)
    notes = [f"imported from {path.name}" + (f", written by {producer}" if producer else "")]
    output = chosen_output(model, options.output)
    require_computed(model, output)
    model, training_notes = in_inference(distinct_names(in_order(inlined(model)), contract=False))
    model = with_open_sizes(keep_only(model, output))
    folding_notes = folded_normalization(model)
    model = standardize(name_weights(model), output)
    model = weights_as_initializers(standardize(model, logits_behind(model, output)))
    image = image_input(model, options)
    model, spec = image.model, image.spec
    notes += [*training_notes, *image.notes, *folding_notes]
    batch = baked_batch(model)
    if batch is not None:
        baked, model = model, free_batch(model, batch)
        require_same_answers(baked, model, batch)
        notes.append(f"the file was exported for batches of {batch}; the batch axis was made free")
    model = _with_logits(model, spec, options.labels)
    return ImportedModel(model, untrained(model), spec, options.labels, tuple(notes))


def _with_logits(model: ModelProto, spec: InputSpec, labels: tuple[str, ...]) -> ModelProto:
    """Checked against the labels, with the bundle's names for input and output."""
    sizes = (spec.channels, spec.height, spec.width)
    image = sizes if spec.layout == "nchw" else (*sizes[1:], sizes[0])
    output = model.graph.output[0].name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # constants that overflow are met by the engine
        shape = fold(model, image).shape(output)
    static = [size for size in shape[1:] if isinstance(size, int)]
    classes = max(static, default=0)
    if len(shape) < 2 or isinstance(shape[0], int) or len(static) != len(shape) - 1 or sum(s != 1 for s in static) != 1:
        described = ["N" if not isinstance(size, int) else size for size in shape]
        raise UnsupportedGraph(f"the output {output!r} has shape {described}, not [N, classes]: no classifier")
    if len(labels) != classes:
        raise OptionMismatch(f"--labels names {len(labels)} classes; the model has {classes}")
    return with_standard_ends(model, output, len(shape))
