"""Reading a file as a ModelProto, with every weight in memory and checked.

The file is not trusted: nothing outside its own folder is read. Every fault is reported in one line that names the
file, the tensor and what is wrong.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, numpy_helper

from export.graph.branches import branches_of
from export.graph.errors import InvalidModel
from export.importing.file.other_files import seems_to_be
from service.contract.bundle_schema import NOT_FINITE_NOTE
from service.output.true_places import true_place

BEGINNING = 512
"""Number of first bytes by which another kind of file is recognised."""
LARGEST_FILE = 2**31
"""Protobuf reads only files that are smaller than this, in bytes."""
MOST_NAMED = 3
"""Weights that a note names one by one."""
FREE_TEXT = {"doc_string", "metadata_props"}
FIRST_TAG = b"\x08"  # protobuf field 1, a varint: ModelProto.ir_version, which writers put first


def read_model(path: Path) -> onnx.ModelProto:
    """Read the model in `path`, with its external data.

    Raises InvalidModel where there is no such file, it is truncated or not ONNX, or weights are missing or outside the
    folder.
    """
    return with_weights(parsed(path), path.parent)


def with_weights(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """Load a parsed model's external data, which lie in its `folder`, into it; raises InvalidModel as `read_model`."""
    for tensor in _tensors(model):
        _load(tensor, folder)
        _require_fitting(tensor)
    return model


def not_finite(model: onnx.ModelProto) -> tuple[str, ...]:
    """Return a note on weights that hold NaN or infinity; none where all numbers are finite.

    They are no reason to refuse a file: it can be run, and a verdict says what they do to its gradients.
    """
    broken = []
    for tensor in _tensors(model):
        values = numpy_helper.to_array(tensor)
        if bad := _count_not_finite(values):
            broken.append(f"{tensor.name!r} ({bad} of {values.size})")
    if not broken:
        return ()
    named = ", ".join(broken[:MOST_NAMED]) + (f" and {len(broken) - MOST_NAMED} more" if broken[MOST_NAMED:] else "")
    return (f"{NOT_FINITE_NOTE} {named}",)


def parsed(path: Path) -> onnx.ModelProto:
    """Read the model in `path` without its external data; raises InvalidModel as `read_model` does."""
    data = _content(path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise InvalidModel(f"{path}: {_unparsed(path, data)}") from error
    if (name := _damaged_name(model)) is not None:
        raise InvalidModel(f"{path}: damaged: a name in it is not text ({name[:20]!r})")
    if not model.ir_version or not model.graph.node:
        kind = seems_to_be(path, data[:BEGINNING])
        what = f"it seems to be {kind}" if kind else "it holds no graph"
        raise InvalidModel(f"{path}: not an ONNX model: {what}")
    if model.graph.sparse_initializer:
        raise InvalidModel(f"{path}: it stores weights as sparse tensors; store them as dense ones")
    return model


def _damaged_name(message: Message) -> bytes | None:
    """Find a name that is not UTF-8, which protobuf returns as bytes; descriptions of the model may hold any bytes."""
    for field, value in message.ListFields():
        if field.name in FREE_TEXT or field.type not in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE):
            continue
        for entry in value if field.is_repeated else [value]:
            found = entry if isinstance(entry, bytes) else None
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                found = _damaged_name(entry)
            if found is not None:
                return found
    return None


def _content(path: Path) -> bytes:
    if path.is_dir():
        inside = sorted(file.name for file in path.glob("*.onnx")) or ["none is there"]
        raise InvalidModel(f"{path}: a folder; name the .onnx file in it ({', '.join(inside[:3])})")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidModel(f"{path}: no plain file; name an .onnx file, or the folder of a model")
        size = status.st_size
        if size >= LARGEST_FILE:
            raise InvalidModel(
                f"{path}: {size} bytes, but an ONNX file ends below 2 GiB; save its weights as external data"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InvalidModel(f"{path}: {_why_missing(path)}") from error
    except OSError as error:
        raise InvalidModel(f"{path}: cannot be read ({error.strerror})") from error


def _why_missing(path: Path) -> str:
    if path.is_symlink():
        return f"its symbolic link leads nowhere (to {os.readlink(path)})"
    if path.parts[0].endswith(":"):
        return "an address: download the model first, and name its file or folder"
    return "there is no such file or folder"


def _unparsed(path: Path, data: bytes) -> str:
    if kind := seems_to_be(path, data[:BEGINNING]):
        return f"not an ONNX file: it seems to be {kind}"
    if data.startswith(FIRST_TAG):
        return f"truncated or damaged: {len(data)} bytes end inside the model"
    return f"not an ONNX file (it begins with {data[:8]!r})"


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Yield every tensor of the model: initializers and attributes, in functions and branches too."""
    yield from model.graph.initializer
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        yield from _tensors_of(nodes)


def _tensors_of(nodes: Iterable[onnx.NodeProto]) -> Iterator[TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for branch in branches_of(node):
            yield from branch.initializer
            yield from _tensors_of(branch.node)


def _load(tensor: TensorProto, folder: Path) -> None:
    if not external_data_helper.uses_external_data(tensor):
        return
    try:
        entry = external_data_helper.ExternalDataInfo(tensor)
    except ValueError as error:
        raise InvalidModel(f"weight {tensor.name!r}: its external data are described wrongly ({error})") from error
    if "\0" in entry.location:
        raise InvalidModel(f"weight {tensor.name!r}: the name of its external data file holds a NUL")
    path = folder / entry.location
    if not entry.location or Path(entry.location).is_absolute() or not _belongs_to(folder, entry.location):
        raise InvalidModel(
            f"weight {tensor.name!r}: its external data {entry.location!r} lies outside the model's folder"
        )
    if not path.is_file():
        raise InvalidModel(
            f"weight {tensor.name!r}: its external data file {entry.location!r} is missing; "
            "put it where the file's exporter wrote it, seen from the .onnx file"
        )
    offset, size = entry.offset or 0, path.stat().st_size
    length = entry.length or size - offset
    if offset < 0 or length < 0 or offset + length > size:
        raise InvalidModel(
            f"weight {tensor.name!r}: its external data file {entry.location!r} has {size} bytes, "
            f"{offset + length} are needed; the file is truncated or another model's"
        )
    try:
        with path.open("rb") as file:
            file.seek(offset)
            tensor.raw_data = file.read(length)
    except OSError as error:
        raise InvalidModel(
            f"weight {tensor.name!r}: its external data file {entry.location!r} cannot be read ({error.strerror})"
        ) from error
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _belongs_to(folder: Path, location: str) -> bool:
    """Say if a file lies in the model's folder, or is a link of a hub's cache into the blobs of the same repository.

    The cache keeps `<repository>/snapshots/<commit>/onnx/model.onnx_data` as a link to `<repository>/blobs/<digest>`.
    """
    folder = folder.absolute()
    if true_place(folder) is None:
        return _is_without_links(folder, location)
    target = (folder / location).resolve()
    if target.is_relative_to(folder.resolve()):
        return True
    if not Path(os.path.normpath(folder / location)).is_relative_to(folder):
        return False
    repositories = [above.parent.parent for above in (folder, *folder.parents) if above.parent.name == "snapshots"]
    return any(target.parent == (repository / "blobs").resolve() for repository in repositories)


def _is_without_links(folder: Path, location: str) -> bool:
    """Say if a file is in the folder by its name alone; where a link leads in another file system nobody can say."""
    inner = Path(os.path.normpath(location))
    places = [folder / part for part in (inner, *inner.parents)][:-1]
    return ".." not in inner.parts and not any(place.is_symlink() for place in places)


def _require_fitting(tensor: TensorProto) -> None:
    if any(size < 0 for size in tensor.dims):
        raise InvalidModel(f"weight {tensor.name!r}: a size of its shape {list(tensor.dims)} is negative")
    try:
        numpy_helper.to_array(tensor)
    except Exception as error:
        raise InvalidModel(f"weight {tensor.name!r}: its data do not fit its shape {list(tensor.dims)}") from error


def _count_not_finite(values: NDArray[Any]) -> int:
    """Return how many numbers of a weight are NaN or infinite."""
    if not np.issubdtype(values.dtype, np.floating):
        return 0
    if values.size == 1 and not np.isnan(values).any():
        return 0  # it is not a weight, but an infinite bound of a Clip or the value of a mask
    return int(np.count_nonzero(~np.isfinite(values)))
