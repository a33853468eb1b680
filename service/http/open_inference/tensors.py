"""Reads and writes tensors: the protocol's data types, in JSON and in little-endian binary."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from service.contract.arrays import Array
from service.errors import MalformedRequest
from service.http.open_inference.json_numbers import count_of, pieces_of

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(bool),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""Data types except BYTES, whose elements have any length, and BF16, which is the upper half of FP32."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def datatype_of(array: Array) -> str:
    """Return the protocol's name of an array's type; object arrays hold bytes."""
    return "BYTES" if array.dtype == object else _NAMES[array.dtype.newbyteorder("<")]


def element_count(shape: Iterable[int]) -> int:
    return math.prod(shape)


def from_binary(name: str, datatype: str, shape: tuple[int, ...], raw: memoryview) -> Array:
    """Return the tensor in `raw`; BYTES elements are a uint32 length and that many bytes.

    Raises:
        MalformedRequest: not exactly the bytes that datatype and shape need.
    """
    if datatype == "BYTES":
        return _binary_strings(name, shape, raw)
    dtype = np.dtype("<u2") if datatype == "BF16" else _dtype(name, datatype)
    expected = element_count(shape) * dtype.itemsize
    if len(raw) != expected:
        raise MalformedRequest(
            f"Input {name!r} has {len(raw)} bytes of data; {datatype} of shape {list(shape)} needs {expected}."
        )
    array = np.frombuffer(raw, dtype=dtype).reshape(shape)
    return (array.astype("<u4") << 16).view("<f4") if datatype == "BF16" else array


def from_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> Array:
    """Return the tensor of the numbers in a JSON `data` member, nested or flat, row-major.

    Raises:
        MalformedRequest: the wrong number of elements, or elements of another type.
    """
    if not isinstance(data, list):
        raise MalformedRequest(f"The data of input {name!r} must be a list.")
    array = _numbers(name, datatype, data)
    _check_count(name, array.size, shape)
    return array.reshape(shape)


def from_json_text(name: str, datatype: str, shape: tuple[int, ...], text: bytes) -> Array:
    """Return the tensor of a long `data` list that is still JSON text.

    Raises:
        MalformedRequest: the wrong number of elements, or elements of another type.
    """
    _check_count(name, count_of(text), shape)
    parts = [_numbers(name, datatype, piece) for piece in pieces_of(text)]
    array = np.concatenate(parts)
    _check_count(name, array.size, shape)
    return array.reshape(shape)


def _numbers(name: str, datatype: str, values: list[Any]) -> Array:
    dtype = np.dtype("<f4") if datatype == "BF16" else _dtype(name, datatype)
    try:
        array = np.array(values)
        if array.dtype == object or (array.size and array.dtype.kind not in "biuf"):
            raise ValueError("not numbers")
        if dtype.kind in "iub" and array.dtype.kind == "f" and array.size:
            raise ValueError("fractions where whole numbers are needed")
        with np.errstate(over="ignore"):
            return array.astype(dtype)
    except (ValueError, OverflowError, TypeError) as error:
        raise MalformedRequest(f"The data of input {name!r} is not {datatype}: {error}.") from None


def _check_count(name: str, elements: int, shape: tuple[int, ...]) -> None:
    if elements != element_count(shape):
        raise MalformedRequest(
            f"Input {name!r} has {elements} elements; shape {list(shape)} needs {element_count(shape)}."
        )


def to_binary(array: Array) -> bytes:
    """Return an output as row-major, little-endian bytes."""
    if array.dtype == object:
        return b"".join(struct.pack("<I", len(value)) + value for value in array.ravel())
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def to_json_data(array: Array) -> list[Any]:
    """Return an output as a flat list; bytes as text."""
    if array.dtype == object:
        return [value.decode("utf-8", "replace") for value in array.ravel()]
    values: list[Any] = array.ravel().tolist()
    return values


def _dtype(name: str, datatype: str) -> np.dtype[Any]:
    if datatype not in DTYPES:
        raise MalformedRequest(f"Input {name!r} has the unknown datatype {str(datatype)[:32]!r}.")
    return DTYPES[datatype]


def _binary_strings(name: str, shape: tuple[int, ...], raw: memoryview) -> Array:
    values: list[bytes] = []
    position, expected = 0, element_count(shape)
    while position < len(raw) and len(values) <= expected:
        end = position + 4
        length = struct.unpack_from("<I", raw, position)[0] if end <= len(raw) else 0
        if end > len(raw) or end + length > len(raw):
            raise MalformedRequest(f"Input {name!r} ends inside one of its byte strings.")
        values.append(bytes(raw[end : end + length]))
        position = end + length
    if len(values) != expected:
        held = f"{len(values)}" if len(values) < expected else f"more than {expected}"
        raise MalformedRequest(f"Input {name!r} holds {held} byte strings; shape {list(shape)} needs {expected}.")
    return byte_strings(name, shape, values)


def byte_strings(name: str, shape: tuple[int, ...], values: list[bytes]) -> Array:
    """Return the BYTES tensor of `values`, an array of objects.

    Raises:
        MalformedRequest: the wrong number of them.
    """
    _check_count(name, len(values), shape)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array.reshape(shape)


def flattened(data: list[Any]) -> Iterator[Any]:
    """Return the elements of nested lists, however deep."""
    open_lists = [iter(data)]
    while open_lists:
        for value in open_lists[-1]:
            if isinstance(value, list):
                open_lists.append(iter(value))
                break
            yield value
        else:
            open_lists.pop()
