"""From a file and what its owner says of it to a graph that the gradient engine takes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from onnx import ModelProto, TensorProto
from pydantic import ValidationError

from export.gradient.errors import UnsupportedGraph
from export.gradient.folding import fold
from export.gradient.graph import Graph, N
from export.importing.agreement import TOLERANCE, Reference, own_scores, require_same_answers
from export.importing.answer import understood
from export.importing.appended import Appended
from export.importing.batch import baked_batch, free_batch
from export.importing.errors import OptionMismatch
from export.importing.head import chosen_output, refuse_decisions, with_standard_ends
from export.importing.integers import BYTE_SCALE, BYTES, takes_bytes, with_float_image, with_float_weights
from export.importing.logarithms import Logarithms
from export.importing.probes import probes
from export.importing.reading import read_model
from export.importing.rounding import without_rounding
from export.importing.standard import keep_only, standardize
from export.importing.weights import name_weights, untrained, weights_as_initializers
from service.bundle_schema import InputSpec

Layout = Literal["nchw", "nhwc"]
IMAGE_CHANNELS = (1, 3)


@dataclass(frozen=True)
class ImportOptions:
    """What the file does not say. Mean and std apply to RGB in [0, 1]; sizes are (height, width)."""

    labels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None = None
    scale: float = 1.0
    channels: Literal["rgb", "bgr"] = "rgb"
    layout: Layout | None = None
    resize: int | None = None
    crop: int | None = None
    output: str | None = None


@dataclass(frozen=True)
class ImportedModel:
    """A classifier in the engine's terms.

    `model` has the pinned opset, one input `input` (N free, the rest static) and one output
    `logits` [N, K]; `constants` names its initializers that are no trained parameters. `reference` is
    what the file itself answers, and None where the model has been given other weights since.
    """

    model: ModelProto
    constants: tuple[str, ...]
    input: InputSpec
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    reference: Reference | None = None


def import_classifier(path: Path, options: ImportOptions) -> ImportedModel:
    """Read an ONNX image classifier of any producer.

    Raises:
        InvalidModel: the file is damaged, incomplete or not ONNX.
        UnsupportedGraph, UnsupportedOperator: the graph is no float32 image classifier.
        OptionMismatch: a flag is missing or contradicts the graph.
    """
    model = read_model(path)
    producer = " ".join(part for part in (model.producer_name, model.producer_version) if part)
    output = chosen_output(model, options.output)
    file = keep_only(model, output)
    unrounded = without_rounding(file, output)
    model, dequantized = with_float_weights(unrounded.model)
    model = weights_as_initializers(standardize(name_weights(model), output))
    refuse_decisions(model, output)
    if in_bytes := takes_bytes(model):
        model = with_float_image(model, options.mean, options.std)
        options = replace(options, scale=BYTE_SCALE)
    layout = _image_layout(model, options.layout)
    model = _with_image_size(model, layout, options.size)
    spec = _input_spec(model, layout, options)
    notes = [f"imported from {path.name}" + (f", written by {producer}" if producer else "")]
    notes += [*([BYTES] if in_bytes else []), *dequantized, *unrounded.notes]
    batch = baked_batch(model)
    if batch is not None:
        baked, model = model, free_batch(model, batch)
        require_same_answers(baked, model, batch)
        notes.append(f"the file was exported for batches of {batch}; the batch axis was made free")
    graph = _folded(model, layout, spec, options.labels)
    images = probes(spec, bytes_only=in_bytes)
    added = Appended(model)
    answer = understood(own_scores(file, images), graph.output, Logarithms(graph, added), added)
    notes += [answer.note] if answer.note else []
    model = keep_only(added.to(model), answer.logits)
    is_flat = len(graph.shapes.get(answer.logits, ())) == 2
    model = with_standard_ends(model, answer.logits, is_flat)
    return ImportedModel(
        model=model,
        constants=tuple(dict.fromkeys((*untrained(model), *added.constants))),
        input=spec,
        labels=options.labels,
        notes=tuple(notes),
        reference=Reference(images, answer.probabilities, max(TOLERANCE, unrounded.tolerance)),
    )


def _image_layout(model: ModelProto, said: Layout | None) -> Layout:
    """The layout of the one input; UnsupportedGraph where it is no image."""
    inputs = model.graph.input
    described = ", ".join(f"{value.name} {_described(value.type.tensor_type)}" for value in inputs) or "none"
    if len(inputs) != 1:
        raise UnsupportedGraph(f"a classifier of one image is needed; the model's inputs are: {described}")
    tensor = inputs[0].type.tensor_type
    sizes = _sizes(tensor)
    if tensor.elem_type != TensorProto.FLOAT or len(sizes) != 4:
        raise UnsupportedGraph(f"the model has no image input (float32, four axes); its input is {described}")
    first, last = sizes[1] in IMAGE_CHANNELS, sizes[3] in IMAGE_CHANNELS
    layout: Layout = said or ("nhwc" if last and not first else "nchw")
    if not (first if layout == "nchw" else last):
        raise UnsupportedGraph(f"the input {described} has no axis of 1 or 3 channels where layout {layout} has it")
    return layout


def _with_image_size(model: ModelProto, layout: Layout, size: tuple[int, int] | None) -> ModelProto:
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    axes = (2, 3) if layout == "nchw" else (1, 2)
    stated = tuple(dimensions[axis].dim_value for axis in axes)
    if size is None and min(stated) <= 0:
        raise OptionMismatch("the model takes images of any size; say which with --size HEIGHT,WIDTH")
    for axis, found, wanted in zip(axes, stated, size or stated, strict=True):
        if found > 0 and found != wanted:
            raise OptionMismatch(f"--size says {wanted} where the model is fixed to {found}")
        dimensions[axis].dim_value = wanted
    if dimensions[0].dim_value <= 0:  # PaddlePaddle writes -1 where others leave the number out
        dimensions[0].dim_param = "N"
    return model


def _input_spec(model: ModelProto, layout: Layout, options: ImportOptions) -> InputSpec:
    sizes = _sizes(model.graph.input[0].type.tensor_type)
    height, width, channels = (sizes[axis] for axis in ((2, 3, 1) if layout == "nchw" else (1, 2, 3)))
    if options.crop is not None and (height, width) != (options.crop, options.crop):
        raise OptionMismatch(f"--crop {options.crop}: the model takes images of {height} x {width}")
    if options.resize is not None and options.resize < max(height, width):
        raise OptionMismatch(f"--resize {options.resize}: nothing of {height} x {width} can be cropped from it")
    for name, values in (("--mean", options.mean), ("--std", options.std)):
        if len(values) != channels:
            raise OptionMismatch(f"{name} has {len(values)} values; the model's images have {channels} channels")
    try:
        return InputSpec(
            height=height,
            width=width,
            channels=1 if channels == 1 else 3,
            channel_order=options.channels,
            layout=layout,
            resize=options.resize,
            mean=options.mean,
            std=options.std,
            scale=options.scale,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise OptionMismatch(f"--{first['loc'][0]}: {first['msg']}") from error


def _folded(model: ModelProto, layout: Layout, spec: InputSpec, labels: tuple[str, ...]) -> Graph:
    """The graph with its shapes, its output checked against the labels."""
    image = (spec.channels, spec.height, spec.width) if layout == "nchw" else (spec.height, spec.width, spec.channels)
    output = model.graph.output[0].name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # constants that overflow are met by the engine
        graph = fold(model, image)
    shape = graph.shape(output)
    sizes = [size for size in shape[1:] if isinstance(size, int)]
    classes = max(sizes, default=1)
    if not shape or shape[0] != N or len(sizes) != len(shape) - 1 or sum(size != 1 for size in sizes) > 1:
        described = ["N" if not isinstance(size, int) else size for size in shape]
        raise UnsupportedGraph(f"the output {output!r} has shape {described}, not [N, classes]: no classifier")
    if classes == 1 and len(labels) != 2:
        raise OptionMismatch(f"--labels names {len(labels)} classes; the model has one score, which is for two")
    if classes > 1 and len(labels) != classes:
        raise OptionMismatch(f"--labels names {len(labels)} classes; the model has {classes}")
    return graph


def _sizes(tensor: object) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in tensor.shape.dim)  # type: ignore[attr-defined]


def _described(tensor: object) -> str:
    names = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]  # type: ignore[attr-defined]
    kind = TensorProto.DataType.Name(tensor.elem_type).lower()  # type: ignore[attr-defined]
    return f"{kind} [{', '.join(names)}]"
