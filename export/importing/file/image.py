"""The image input of a classifier: its layout, channels and size, and the type of its pixels.

What the file states is taken. What it leaves open follows from the first convolution, whose weight shows the
number of channels, and from the flags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper
from pydantic import ValidationError

from export.graph.attributes import attribute_of
from export.graph.errors import UnsupportedGraph
from export.importing.flags.errors import OptionMismatch
from export.importing.flags.geometry import resize_before_crop
from export.importing.flags.options import ImportOptions, Layout
from export.importing.flags.pixels import BYTES, HOLDING_BYTES, pixel_statistics, written
from service.contract.bundle_schema import InputSpec

IMAGE_CHANNELS = (1, 3)
CHANNELS_FIRST: Layout = "nchw"
CHANNEL_AXIS: dict[Layout, int] = {"nchw": 1, "nhwc": 3}
SPATIAL_AXES: dict[Layout, tuple[int, int]] = {"nchw": (2, 3), "nhwc": (1, 2)}
KEEPING_CHANNELS = {
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Div", "Dropout", "Identity", "InstanceNormalization",
    "MaxPool", "Mul", "Neg", "Pad", "Pow", "Relu", "Resize", "Sub",
}  # fmt: skip
MOVING_BYTES = {
    "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Slice", "Gather", "Split", "Expand", "Tile",
    "DepthToSpace", "SpaceToDepth",
}  # fmt: skip


@dataclass(frozen=True)
class FirstConvolution:
    """A convolution that reads the image: the axis of the image's channels, and their number."""

    channel_axis: int
    channels: int


@dataclass(frozen=True)
class ImageInput:
    """A model whose input is float32 with all sizes stated but the batch, the input's record, and notes.

    `integers` is True where the file itself takes whole numbers of 0…255.
    """

    model: ModelProto
    spec: InputSpec
    notes: tuple[str, ...]
    integers: bool


def image_input(model: ModelProto, options: ImportOptions) -> ImageInput:
    """Settle the image input from what the file states, its first convolution and the flags.

    Raises UnsupportedGraph where the input is not an image, OptionMismatch where a flag is missing or contradicts it.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    described = _described_inputs(copy)
    if len(copy.graph.input) != 1:
        raise UnsupportedGraph(f"a classifier of one image is needed; the model's inputs are: {described}")
    tensor = copy.graph.input[0].type.tensor_type
    integers = tensor.elem_type in HOLDING_BYTES and len(tensor.shape.dim) in (0, 4)
    if integers:
        options = _for_bytes(copy, options)
    first = first_convolution(copy)
    if not tensor.HasField("shape") and first is not None:
        tensor.shape.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, ["N", "", "", ""]).tensor_type.shape)
    if tensor.elem_type != TensorProto.FLOAT or len(tensor.shape.dim) != 4:
        raise UnsupportedGraph(f"the model has no image input (float32, four axes); its input is {described}")
    layout = _layout(tensor, first, options.layout, described)
    channels = _state_channels(tensor, layout, first, options, described)
    _state_size(tensor, layout, options)
    spec, notes = _spec(tensor, layout, channels, options)
    if integers:
        notes = (*notes, f"the file takes pixels as integers ({described}); here they are float32 of 0…255")
    return ImageInput(copy, spec, notes, integers)


def with_open_sizes(model: ModelProto) -> ModelProto:
    """Clear sizes of 0 or -1, with which PaddlePaddle leaves a size open, in the model itself; return it."""
    for value in model.graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.HasField("dim_value") and dimension.dim_value <= 0:
                dimension.ClearField("dim_value")
    return model


def first_convolution(model: ModelProto) -> FirstConvolution | None:
    """Return the first convolution that reads all channels of the image; None where that is not plain."""
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    axes: dict[str, tuple[int, ...]] = {model.graph.input[0].name: (0, 1, 2, 3)}
    for node in model.graph.node:
        order = next((axes[name] for name in node.input if name in axes), None)
        if order is None:
            continue
        if node.op_type == "Conv" and node.input[0] in axes and len(weights.get(node.input[1], ())) == 4:
            groups = attribute_of(node, "group", 1)
            return FirstConvolution(order[1], weights[node.input[1]][1] * groups)
        if node.op_type == "Transpose":
            places = attribute_of(node, "perm", [3, 2, 1, 0])
            if sorted(places) == [0, 1, 2, 3]:
                axes[node.output[0]] = tuple(order[place] for place in places)
        elif node.op_type in KEEPING_CHANNELS:
            axes[node.output[0]] = order
    return None


def _layout(tensor: TypeProto.Tensor, first: FirstConvolution | None, said: Layout | None, described: str) -> Layout:
    read = next((name for name, axis in CHANNEL_AXIS.items() if first and axis == first.channel_axis), None)
    sizes = [dimension.dim_value for dimension in tensor.shape.dim]
    fits = [name for name, axis in CHANNEL_AXIS.items() if sizes[axis] in IMAGE_CHANNELS or sizes[axis] <= 0]
    stated = [name for name in fits if sizes[CHANNEL_AXIS[name]] > 0]
    if said is not None and read not in (None, said):
        raise OptionMismatch(f"--layout {said}: the first convolution reads the image as {read}")
    layout = said or read or next(iter(stated or fits), CHANNELS_FIRST)
    if layout not in fits:
        raise UnsupportedGraph(f"the input {described} has no axis of 1 or 3 channels where layout {layout} has it")
    return layout


def _state_channels(
    tensor: TypeProto.Tensor, layout: Layout, first: FirstConvolution | None, options: ImportOptions, described: str
) -> Literal[1, 3]:
    """State the number of channels where the file leaves it open: the convolution's, else that of `--mean`."""
    dimension = tensor.shape.dim[CHANNEL_AXIS[layout]]
    read = first.channels if first and first.channel_axis == CHANNEL_AXIS[layout] else None
    if dimension.dim_value <= 0:
        dimension.dim_value = read or max(len(options.mean), len(options.std))
    if dimension.dim_value not in IMAGE_CHANNELS or read not in (None, dimension.dim_value):
        raise UnsupportedGraph(
            f"the input {described} has {read or dimension.dim_value} channels; an image has 1 or 3"
            if read not in IMAGE_CHANNELS
            else f"the input {described} does not fit its first convolution, which reads {read} channels"
        )
    return 1 if dimension.dim_value == 1 else 3


def _state_size(tensor: TypeProto.Tensor, layout: Layout, options: ImportOptions) -> None:
    dimensions = [tensor.shape.dim[axis] for axis in SPATIAL_AXES[layout]]
    stated = tuple(dimension.dim_value for dimension in dimensions)
    size = options.size
    if size is None and min(stated) <= 0 and options.crop is not None:
        size = (options.crop, options.crop)
    if size is None and min(stated) <= 0:
        raise OptionMismatch("the model takes images of any size; say which with --size HEIGHT,WIDTH")
    for dimension, found, wanted in zip(dimensions, stated, size or stated, strict=True):
        if found > 0 and found != wanted:
            raise OptionMismatch(f"--size says {wanted} where the model is fixed to {found}")
        dimension.dim_value = wanted
    if not tensor.shape.dim[0].dim_value:
        tensor.shape.dim[0].dim_param = "N"


def _spec(
    tensor: TypeProto.Tensor, layout: Layout, channels: Literal[1, 3], options: ImportOptions
) -> tuple[InputSpec, tuple[str, ...]]:
    height, width = (tensor.shape.dim[axis].dim_value for axis in SPATIAL_AXES[layout])
    mean, std, notes = pixel_statistics(options.mean, options.std, options.scale, channels)
    try:
        spec = InputSpec(
            height=height,
            width=width,
            channels=channels,
            channel_order=options.channels,
            layout=layout,
            resize=resize_before_crop(options, height, width),
            resize_side=options.resize_side,
            resize_rounding=options.resize_rounding,
            crop_rounding=options.crop_rounding,
            fill=options.fill,
            interpolation=options.interpolation,
            antialias=options.antialias,
            mean=mean,
            std=std,
            scale=options.scale,
        )
    except ValidationError as error:
        first = error.errors()[0]
        where = f"--{first['loc'][0]}: " if first["loc"] else ""
        raise OptionMismatch(f"{where}{first['msg'].removeprefix('Value error, ')}") from error
    return spec, notes


def _moves_bytes(node: NodeProto) -> bool:
    """Tell whether a node computes no new numbers: it moves pixels, or takes the nearest, or surrounds them by 0."""
    mode = attribute_of(node, "mode", "")
    if node.op_type == "Resize":
        return mode in ("", "nearest")
    if node.op_type == "Pad":
        return mode not in ("", "constant") or len(node.input) < 3 or not node.input[2]
    return node.op_type in MOVING_BYTES


def _for_bytes(model: ModelProto, options: ImportOptions) -> ImportOptions:
    """Change an integer input to float32 in place, and return the options for pixels of 0…255.

    Raises UnsupportedGraph where the graph computes with the integers before it casts them.
    """
    image = model.graph.input[0]
    integers = {image.name}
    for node in model.graph.node:
        if not integers.intersection(node.input):
            continue
        if node.op_type == "Cast" and attribute_of(node, "to") == TensorProto.FLOAT:
            node.op_type = "Identity"
            del node.attribute[:]
        elif _moves_bytes(node):
            integers.update(node.output)
        elif node.op_type not in ("Shape", "Size"):
            raise _integer_arithmetic(node, image.name)
    if any(options.mean) or any(value != 1 for value in options.std):
        raise OptionMismatch(
            f"--mean {written(options.mean)} --std {written(options.std)}: the model takes pixels as they are "
            "(integers of 0…255), to which no --mean or --std can be applied; say --mean 0 --std 1"
        )
    image.type.tensor_type.elem_type = TensorProto.FLOAT
    return options.with_scale(BYTES)


def _integer_arithmetic(node: NodeProto, image: str) -> UnsupportedGraph:
    return UnsupportedGraph(
        f"{node.op_type} (node {node.name or node.output[0]!r}) computes with the integers of input {image!r}; "
        "only a model that casts them to float32 first can be differentiated"
    )


def _described_inputs(model: ModelProto) -> str:
    return ", ".join(f"{value.name} {_described(value.type)}" for value in model.graph.input) or "none"


def _described(kind: TypeProto) -> str:
    if kind.WhichOneof("value") != "tensor_type":
        return (kind.WhichOneof("value") or "of no type").removesuffix("_type")
    tensor = kind.tensor_type
    element = TensorProto.DataType.Name(tensor.elem_type).lower()
    if not tensor.HasField("shape"):
        return f"{element} of any shape"
    names = [str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]
    return f"{element} [{', '.join(names)}]"
