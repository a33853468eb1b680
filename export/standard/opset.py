"""Conversion of models to the engine's own opset, `export.graph.graph.OPSET`, from opset 7 to the newest.

onnx's own version converter does most of it; what it gets wrong or refuses is mended here, case by case.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, inliner, shape_inference, version_converter

from export.graph.errors import InvalidModel, UnsupportedGraph
from export.graph.graph import IR_VERSION, OPSET, STANDARD, standard_opset
from export.standard.decompose import decompose
from export.standard.fusions import in_their_own_domain, without_fusions

OLDEST_OPSET = 7
FIRST_WITH_RESIZE_MODES = 11
LEAST_SET_ASIDE = 4096
"""Bytes of a weight that conversion does without; what it reads (scales, sizes) is smaller."""


def at_our_opset(model: ModelProto) -> ModelProto:
    """Return `model`, which has no local functions, at the engine's opset and decomposed (`decompose`).

    Raises InvalidModel where it names no opset, UnsupportedGraph where its opset is unknown or cannot be converted.
    """
    version = opset_of(model)
    model = in_their_own_domain(model)
    if version > OPSET:
        model = _expand_newer(model)
    if version != OPSET:
        model = _convert(model, version)
    return decompose(without_fusions(model))


def inlined(model: ModelProto) -> ModelProto:
    """Return `model` with its local functions written out; UnsupportedGraph where onnx cannot do that."""
    if not model.functions:
        return model
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:
        raise UnsupportedGraph(f"the model's local functions cannot be written out ({_reason(error)})") from error


def opset_of(model: ModelProto) -> int:
    """Return the opset of the standard operators.

    Raises InvalidModel where the model names none, UnsupportedGraph where it is older or newer than those we know.
    """
    version, newest = standard_opset(model), onnx.defs.onnx_opset_version()
    if all(entry.domain not in STANDARD for entry in model.opset_import):
        raise InvalidModel("the model names no version of the standard operators (opset)")
    if not OLDEST_OPSET <= version <= newest:
        raise UnsupportedGraph(
            f"opset {version} is outside {OLDEST_OPSET} to {newest}; export the model again with opset {OPSET}"
        )
    return version


def _expand_newer(model: ModelProto) -> ModelProto:
    """Replace operators that our opset lacks, or defines otherwise, by their definition in ONNX."""
    standard = {node.op_type for node in model.graph.node if node.domain in STANDARD}
    newer = sorted(name for name in standard if not _means_the_same(name, opset_of(model)))
    if not newer:
        return model
    typed = ModelProto()
    typed.CopyFrom(model)
    for node in typed.graph.node:
        if node.op_type in newer and node.domain in STANDARD:
            _state_defaults(node, opset_of(model))
    for tensor in typed.graph.initializer:
        typed.graph.value_info.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    try:
        typed = shape_inference.infer_shapes(typed, data_prop=True)
        expanded = inliner.inline_selected_functions(
            typed, [("", name) for name in newer], inline_schema_functions=True
        )
    except Exception as error:
        raise UnsupportedGraph(
            f"{', '.join(newer)} of opset {opset_of(model)} cannot be expressed in opset {OPSET}; "
            f"export the model with opset {OPSET}"
        ) from error
    del expanded.graph.value_info[:]
    return expanded


def _state_defaults(node: NodeProto, version: int) -> None:
    """Write out the defaults of absent attributes, which the inliner does not know."""
    stated = {attribute.name for attribute in node.attribute}
    for name, attribute in onnx.defs.get_schema(node.op_type, version, "").attributes.items():
        if name not in stated and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def _means_the_same(operator: str, version: int) -> bool:
    """Tell whether our opset has an operator of a newer one; the newer may only allow more element types."""
    if operator == "GroupNormalization":  # 21 moved scale and bias from groups to channels
        return False
    try:
        onnx.defs.get_schema(operator, OPSET, "")
    except onnx.defs.SchemaError:
        return False
    return True


def _convert(model: ModelProto, version: int) -> ModelProto:
    try:
        converted = _converted_without_weights(_with_concrete_names(model))
    except Exception as error:
        if version < OPSET:
            raise _unconvertible(version, error) from error
        converted = _relabel(model)
    if version < FIRST_WITH_RESIZE_MODES:
        _resize_as_before(converted.graph)
    converted.ir_version = IR_VERSION
    del converted.graph.value_info[:]
    return converted


def _converted_without_weights(model: ModelProto) -> ModelProto:
    """Convert a model while its weights are set aside: the converter copies each several times and reads none."""
    weights = {
        tensor.name: tensor.raw_data
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.raw_data) >= LEAST_SET_ASIDE
    }
    try:
        for tensor in model.graph.initializer:
            if tensor.name in weights:
                tensor.ClearField("raw_data")
        converted = version_converter.convert_version(model, OPSET)
        _put_back(weights, converted)
        return converted
    finally:
        _put_back(weights, model)


def _put_back(weights: Mapping[str, bytes], model: ModelProto) -> None:
    for tensor in model.graph.initializer:
        if tensor.name in weights:
            tensor.raw_data = weights[tensor.name]


def _with_concrete_names(model: ModelProto) -> ModelProto:
    """Name every node, because the converter loses those without a name."""
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    return model


def _relabel(model: ModelProto) -> ModelProto:
    """Label a newer graph with our opset, which suffices where that has all its operators."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for entry in copy.opset_import:
        if entry.domain in STANDARD:
            entry.version = OPSET
    try:
        onnx.checker.check_model(copy)
    except Exception as error:
        raise _unconvertible(opset_of(model), error) from error
    return copy


def _resize_as_before(graph: GraphProto) -> None:
    """Make every Resize `asymmetric` with `floor`, as before opset 11; the converter leaves the newer defaults."""
    for node in graph.node:
        if node.op_type == "Resize":
            kept = [a for a in node.attribute if a.name not in ("coordinate_transformation_mode", "nearest_mode")]
            del node.attribute[:]
            node.attribute.extend(kept)
            node.attribute.append(helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            node.attribute.append(helper.make_attribute("nearest_mode", "floor"))


def _unconvertible(version: int, error: Exception) -> UnsupportedGraph:
    return UnsupportedGraph(
        f"opset {version} cannot be brought to {OPSET} ({_reason(error)}); export the model with opset {OPSET}"
    )


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rsplit(": ", 1)[-1] if str(error).strip() else type(error).__name__
