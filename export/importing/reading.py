"""A file as a ModelProto, with every weight in memory and checked.

Files come from strangers: nothing outside the file's own folder is read, and every fault is one
line that says which file, which tensor and what is wrong with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, external_data_helper, numpy_helper

from export.gradient.errors import InvalidModel

FIRST_TAG = b"\x08"  # protobuf field 1, a varint: ModelProto.ir_version, which writers put first


def read_model(path: Path) -> onnx.ModelProto:
    """The model in `path`, external data loaded.

    Raises InvalidModel: no such file, truncated, not ONNX, weights missing, outside the folder or
    not finite.
    """
    model = _parse(path)
    for tensor in _tensors(model):
        _load(tensor, path.parent)
        _require_finite(tensor)
    return model


def _parse(path: Path) -> onnx.ModelProto:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidModel(f"{path}: cannot be read ({error.strerror})") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        if data.startswith(FIRST_TAG):
            raise InvalidModel(f"{path}: truncated or damaged: {len(data)} bytes end inside the model") from error
        raise InvalidModel(f"{path}: not an ONNX file (it begins with {data[:8]!r})") from error
    if not model.ir_version or not model.graph.node:
        raise InvalidModel(f"{path}: not an ONNX model: it holds no graph")
    return model


def _tensors(model: onnx.ModelProto) -> list[TensorProto]:
    """Every tensor of the model: initializers and attributes, in functions and subgraphs too."""
    found: list[TensorProto] = []

    def collect(nodes: list[onnx.NodeProto]) -> None:
        for node in nodes:
            for attribute in node.attribute:
                found.extend([attribute.t] if attribute.HasField("t") else [])
                found.extend(attribute.tensors)
                for graph in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                    found.extend(graph.initializer)
                    collect(list(graph.node))

    found.extend(model.graph.initializer)
    collect(list(model.graph.node))
    for function in model.functions:
        collect(list(function.node))
    return found


def _load(tensor: TensorProto, folder: Path) -> None:
    if not external_data_helper.uses_external_data(tensor):
        return
    entry = external_data_helper.ExternalDataInfo(tensor)
    path = (folder / entry.location).resolve()
    if not entry.location or Path(entry.location).is_absolute() or not path.is_relative_to(folder.resolve()):
        raise InvalidModel(
            f"weight {tensor.name!r}: its external data {entry.location!r} lies outside the model's folder"
        )
    if not path.is_file():
        raise InvalidModel(f"weight {tensor.name!r}: its external data file {entry.location!r} is missing")
    offset, size = entry.offset or 0, path.stat().st_size
    length = entry.length or size - offset
    if offset < 0 or length < 0 or offset + length > size:
        raise InvalidModel(
            f"weight {tensor.name!r}: its external data file {entry.location!r} has {size} bytes, "
            f"{offset + length} are needed; the file is truncated or another model's"
        )
    with path.open("rb") as file:
        file.seek(offset)
        tensor.raw_data = file.read(length)
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _require_finite(tensor: TensorProto) -> None:
    try:
        values = numpy_helper.to_array(tensor)
    except Exception as error:
        raise InvalidModel(f"weight {tensor.name!r}: its data do not fit its shape {list(tensor.dims)}") from error
    if not np.issubdtype(values.dtype, np.floating) or np.isfinite(values).all():
        return
    if values.size == 1 and not np.isnan(values).any():
        return  # an infinite bound of a Clip, or the fill of a mask, is no weight
    bad = int(np.count_nonzero(~np.isfinite(values)))
    raise InvalidModel(f"weight {tensor.name!r}: {bad} of {values.size} values are NaN or infinite")
