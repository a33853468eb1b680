"""Any ONNX classifier as the plain graph the gradient engine reads: one domain, one opset, no functions.

Opsets 7 to the newest are brought to `export.graph.graph.OPSET`. onnx's own version converter
does most of it; what it gets wrong or refuses is mended here, each case named.
"""

from __future__ import annotations

import onnx
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    inliner,
    shape_inference,
    version_converter,
)

from export.graph.decompose import decompose
from export.graph.errors import InvalidModel, UnsupportedGraph, UnsupportedOperator
from export.graph.graph import IR_VERSION, OPSET, STANDARD

OLDEST_OPSET = 7
FIRST_WITH_RESIZE_MODES = 11
INTEGER_OPERATORS = {
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
}
REFUSED_TYPES = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}


def standardize(model: ModelProto, output: str) -> ModelProto:
    """`model` cut down to what `output` needs, functions inlined, at the pinned opset.

    Raises UnsupportedOperator for foreign domains and quantized operators, UnsupportedGraph for
    element types other than float32 and for opsets out of range.
    """
    version = _opset(model)
    model = keep_only(inlined(model), output)
    refuse_foreign(model)
    refuse_types(model)
    if version > OPSET:
        model = _expand_newer(model)
    if version != OPSET:
        model = _convert(model, version)
    return keep_only(decompose(model), output)


def inlined(model: ModelProto) -> ModelProto:
    """`model` with its local functions written out.

    Raises UnsupportedGraph where onnx cannot do that.
    """
    if not model.functions:
        return model
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:
        raise UnsupportedGraph(f"the model's local functions cannot be written out ({_reason(error)})") from error


def keep_only(model: ModelProto, output: str) -> ModelProto:
    """A copy with nothing that `output` does not depend on; initializers are no longer inputs."""
    graph = model.graph
    needed, nodes = {output}, []
    for node in reversed(graph.node):
        if needed.intersection(name for name in node.output if name):
            nodes.append(node)
            needed.update(name for name in node.input if name)
            needed.update(name for attribute in node.attribute for name in captured(attribute))
    weights = {tensor.name for tensor in graph.initializer}
    kept = ModelProto()
    kept.CopyFrom(_without_graph(model))
    kept.graph.name = graph.name or "classifier"
    kept.graph.node.extend(reversed(nodes))
    kept.graph.input.extend(value for value in graph.input if value.name in needed and value.name not in weights)
    kept.graph.initializer.extend(tensor for tensor in graph.initializer if tensor.name in needed)
    known = next((value for value in (*graph.output, *graph.value_info) if value.name == output), None)
    kept.graph.output.append(known or helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    return kept


def _without_graph(model: ModelProto) -> ModelProto:
    shell = ModelProto()
    for name in ("ir_version", "producer_name", "producer_version"):
        setattr(shell, name, getattr(model, name))
    shell.ir_version = max(shell.ir_version, IR_VERSION)  # older ones want initializers among the inputs
    shell.opset_import.extend(model.opset_import)
    shell.functions.extend(model.functions)
    return shell


def captured(attribute: AttributeProto) -> list[str]:
    """Names a subgraph may read from outside."""
    graphs = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
    names = []
    for graph in graphs:
        names += [name for node in graph.node for name in node.input]
        names += [value.name for value in graph.output]
        names += [name for node in graph.node for inner in node.attribute for name in captured(inner)]
    return names


def _opset(model: ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD]
    if not versions:
        raise InvalidModel("the model names no version of the standard operators (opset)")
    version, newest = int(versions[0]), onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= version <= newest:
        raise UnsupportedGraph(
            f"opset {version} is outside {OLDEST_OPSET} to {newest}; export the model again with opset {OPSET}"
        )
    return version


def refuse_foreign(model: ModelProto) -> None:
    """UnsupportedOperator for operators outside the standard domain, and for quantized ones."""
    for node in model.graph.node:
        if node.domain not in STANDARD:
            raise UnsupportedOperator(
                f"{node.domain}::{node.op_type}",
                node.name or node.output[0],
                "the operator is not standard ONNX, so its derivative is not known",
                "export the model with standard operators, or name an earlier tensor with --output",
            )
        if node.op_type in INTEGER_OPERATORS:
            raise UnsupportedOperator(
                node.op_type,
                node.name or node.output[0],
                "int8 (quantized) graphs cannot be differentiated",
                "import the float32 model it was made from",
            )


def refuse_types(model: ModelProto) -> None:
    """UnsupportedGraph for a graph that computes in anything but float32."""
    tensors = [(tensor.name, tensor.data_type) for tensor in model.graph.initializer]
    tensors += [(value.name, value.type.tensor_type.elem_type) for value in model.graph.input]
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to":
                tensors.append((node.output[0], attribute.i))
            if attribute.type == AttributeProto.TENSOR and node.op_type == "Constant":
                tensors.append((node.output[0], attribute.t.data_type))
    for name, kind in tensors:
        # A float64 cast or constant inside shape arithmetic is harmless; half precision never is.
        if kind in REFUSED_TYPES and (kind != TensorProto.DOUBLE or name in {v.name for v in model.graph.input}):
            raise UnsupportedGraph(
                f"tensor {name!r} is {REFUSED_TYPES[kind]}: only float32 graphs are differentiated; "
                "export the model in float32"
            )


def _expand_newer(model: ModelProto) -> ModelProto:
    """Replace operators that the pinned opset does not have, or has otherwise, by their ONNX definition."""
    newer = sorted({node.op_type for node in model.graph.node if not _means_the_same(node.op_type, _opset(model))})
    if not newer:
        return model
    typed = ModelProto()
    typed.CopyFrom(model)
    for node in typed.graph.node:
        if node.op_type in newer:
            _state_defaults(node, _opset(model))
    for tensor in typed.graph.initializer:
        typed.graph.value_info.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    try:
        typed = shape_inference.infer_shapes(typed, data_prop=True)
        expanded = inliner.inline_selected_functions(
            typed, [("", name) for name in newer], inline_schema_functions=True
        )
    except Exception as error:
        raise UnsupportedGraph(
            f"{', '.join(newer)} of opset {_opset(model)} cannot be expressed in opset {OPSET}; "
            f"export the model with opset {OPSET}"
        ) from error
    del expanded.graph.value_info[:]
    return expanded


def _state_defaults(node: NodeProto, version: int) -> None:
    """Write the defaults of absent attributes out: the inliner does not know them."""
    stated = {attribute.name for attribute in node.attribute}
    for name, attribute in onnx.defs.get_schema(node.op_type, version, "").attributes.items():
        if name not in stated and attribute.default_value.name:
            node.attribute.append(attribute.default_value)


def _means_the_same(operator: str, version: int) -> bool:
    """Whether the operator of a newer opset is there at the pinned one (with more element types at most)."""
    if operator == "GroupNormalization":  # 21 moved scale and bias from groups to channels
        return False
    try:
        onnx.defs.get_schema(operator, OPSET, "")
    except onnx.defs.SchemaError:
        return False
    return True


def _convert(model: ModelProto, version: int) -> ModelProto:
    try:
        converted = version_converter.convert_version(_with_concrete_names(model), OPSET)
    except Exception as error:
        if version < OPSET:
            raise _unconvertible(version, error) from error
        converted = _relabel(model)
    if version < FIRST_WITH_RESIZE_MODES:
        _resize_as_before(converted.graph)
    converted.ir_version = IR_VERSION
    del converted.graph.value_info[:]
    return converted


def _with_concrete_names(model: ModelProto) -> ModelProto:
    """The converter loses what has no name; give every node one."""
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    return model


def _relabel(model: ModelProto) -> ModelProto:
    """A newer graph whose operators all exist at the pinned opset only needs its label changed."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for entry in copy.opset_import:
        if entry.domain in STANDARD:
            entry.version = OPSET
    try:
        onnx.checker.check_model(copy)
    except Exception as error:
        raise _unconvertible(_opset(model), error) from error
    return copy


def _resize_as_before(graph: GraphProto) -> None:
    """Before opset 11 Resize and Upsample were `asymmetric` with `floor`; the converter leaves the new defaults."""
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
