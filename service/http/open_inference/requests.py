"""Reads an infer request: JSON, then the raw tensors in the order of `inputs`.

Null is read as a member that is left out, wherever it may be: many clients write it. Unknown members are ignored, as
the protocol says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.contract.arrays import Array
from service.errors import EmptyBody, MalformedRequest, TooLarge
from service.http.open_inference.catalogue import IMAGE
from service.http.open_inference.json_numbers import take_out_lists
from service.http.open_inference.tensors import byte_strings, flattened, from_binary, from_json, from_json_text
from service.http.requests.base64_text import from_base64
from service.http.requests.json_bodies import MAX_JSON_VALUES, parse_json
from service.images.files import signature

InputCheck = Callable[[str, str, tuple[int, ...]], None]
"""Called with name, datatype and shape of an input before its data is read; raises if the model does not take it."""

LARGEST_DIMENSION = 2**31
MOST_OUTPUTS = 100
LONGEST_ID = 2**12
"""Characters that an id may have; the answer repeats it."""


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the client wants: in binary or not, and as how many ranked classes (0: as it is)."""

    name: str
    binary: bool
    classification: int = 0


@dataclass(frozen=True, slots=True)
class InferRequest:
    """An infer request. `outputs` None means all forward outputs (and all gradients with `gradients`)."""

    id: str | None
    inputs: Mapping[str, Array]
    outputs: tuple[RequestedOutput, ...] | None
    binary_default: bool = False
    gradients: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)


def read_request(body: bytes, header_length: str | None, check: InputCheck) -> InferRequest:
    """Read a body; `header_length` is `Inference-Header-Content-Length`, the length of its JSON.

    With length 0 the whole body is one encoded image: `curl -H 'Inference-Header-Content-Length: 0'`.

    Raises:
        EmptyBody, MalformedRequest: the body is empty, or not what the protocol says.
        TooLarge: too many values, or `check` finds the input too large.
    """
    if not body:
        raise EmptyBody("The body is empty.")
    length = _header_length(header_length, len(body))
    if length == 0:
        return InferRequest(None, {IMAGE: from_raw_image(body)}, None)
    text, lists = take_out_lists(body[:length] if length < len(body) else body)
    document = _document(text)
    inputs, used = _inputs(document, lists, memoryview(body)[length:], check)
    if used != len(body) - length:
        raise MalformedRequest(f"{len(body) - length - used} bytes follow the last tensor.")
    parameters = _parameters(document)
    binary = _flag(parameters, "binary_data_output")
    identity = document.get("id")
    if identity is not None and not isinstance(identity, str):
        raise MalformedRequest("`id` must be a string.")
    if identity is not None and len(identity) > LONGEST_ID:
        raise TooLarge(f"`id` has more than {LONGEST_ID} characters.")
    return InferRequest(
        id=identity,
        inputs=inputs,
        outputs=_outputs(document.get("outputs"), binary),
        binary_default=binary,
        gradients=_flag(parameters, "gradients"),
        parameters=parameters,
    )


def wants_only_ready(body: bytes) -> bool:
    """Read the body of a question for the repository's index: {"ready": true}, or nothing.

    Raises:
        MalformedRequest: it is neither.
    """
    return bool(body.strip()) and _flag(_document(body), "ready")


def check_load(body: bytes) -> None:
    """Check the body of a load: nothing, or parameters, of which none is understood.

    Raises:
        MalformedRequest: it gives a configuration or files of its own, or cannot be read.
    """
    for name in _parameters(_document(body)) if body.strip() else ():
        raise MalformedRequest(
            f"The parameter {name[:64]!r} is not supported: a model is loaded as it lies in the folder of bundles, "
            "and none is taken over HTTP."
        )


def check_unload(body: bytes) -> None:
    """Check the body of an unload: nothing, or `unload_dependents`, which no model has.

    Raises:
        MalformedRequest: it cannot be read.
    """
    if body.strip():
        _flag(_parameters(_document(body)), "unload_dependents")


def from_raw_image(body: bytes) -> Array:
    """Return one encoded file as a BYTES tensor of shape [1]."""
    return from_binary(IMAGE, "BYTES", (1,), memoryview(len(body).to_bytes(4, "little") + body))


def _header_length(given: str | None, size: int) -> int:
    if given is None:
        return size
    if not given.isdecimal() or len(given) > 12 or int(given) > size:
        raise MalformedRequest(f"Inference-Header-Content-Length is {given[:32]!r}; the body has {size} bytes.")
    return int(given)


def _document(text: bytes) -> Mapping[str, Any]:
    is_picture = signature(text) is not None
    hint = " A picture as the whole body needs the header Inference-Header-Content-Length: 0." if is_picture else ""
    document = parse_json(
        text,
        too_many=f"The request's JSON has more than {MAX_JSON_VALUES} values beside its numbers.",
        unreadable=f"The request's JSON cannot be read.{hint}",
    )
    return _mapping(document, "the request")


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedRequest(f"{what[0].upper() + what[1:]} must be a JSON object.")
    return value


def _parameters(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of a request, an input or an output, without those that are null."""
    given = holder.get("parameters")
    return {} if given is None else {k: v for k, v in _mapping(given, "parameters").items() if v is not None}


def _flag(parameters: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise MalformedRequest(f"The parameter {name} must be true or false.")
    return value


def _inputs(
    document: Mapping[str, Any], lists: list[bytes], raw: memoryview, check: InputCheck
) -> tuple[dict[str, Array], int]:
    entries = document.get("inputs")
    if not isinstance(entries, list) or not entries:
        raise MalformedRequest("`inputs` must be a list of at least one tensor.")
    tensors: dict[str, Array] = {}
    position = 0
    for entry in entries:
        tensor = _mapping(entry, "an input")
        name, datatype = tensor.get("name"), tensor.get("datatype")
        if not isinstance(name, str) or not isinstance(datatype, str):
            raise MalformedRequest("Every input needs a name and a datatype.")
        size = _parameters(tensor).get("binary_data_size")
        shape = _shape_of_strings(tensor) if datatype == "BYTES" and size is None else _shape(tensor)
        if name in tensors:
            raise MalformedRequest(f"The input {name[:64]!r} is given twice.")
        check(name, datatype, shape)
        if size is None:
            tensors[name] = _tensor_of_json(name, datatype, shape, tensor.get("data"), lists)
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(raw) - position:
            raise MalformedRequest(f"The binary_data_size of input {name[:64]!r} does not fit the body.")
        if tensor.get("data") is not None:
            raise MalformedRequest(f"The input {name[:64]!r} has both data and binary_data_size.")
        tensors[name] = from_binary(name, datatype, shape, raw[position : position + size])
        position += size
    return tensors, position


def _tensor_of_json(name: str, datatype: str, shape: tuple[int, ...], data: Any, lists: list[bytes]) -> Array:
    """Return the tensor of `data`, or of the long list that was taken out and replaced by its index.

    The elements of a BYTES tensor are files, in base64 since this is JSON.
    """
    if datatype == "BYTES":
        return byte_strings(name, shape, [from_base64(text) for text in _strings(name, data)])
    if isinstance(data, int) and not isinstance(data, bool) and 0 <= data < len(lists):
        return from_json_text(name, datatype, shape, lists[data])
    return from_json(name, datatype, shape, data)


def _shape_of_strings(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the shape of a BYTES tensor in JSON. Clients may leave it out, or give −1; then the data decides."""
    if tensor.get("shape") in (None, -1, [-1], [-1, 1]):
        return (len(_strings(tensor["name"], tensor.get("data"))),)
    return _shape(tensor)


def _strings(name: str, data: Any) -> list[str]:
    """Return the strings of a BYTES tensor, flat or nested; a single one needs no list."""
    strings = list(flattened([data]))
    if not all(isinstance(text, str) for text in strings):
        raise MalformedRequest(f"The data of input {name[:64]!r} must be strings, each one file in base64.")
    return strings


def _shape(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    shape = tensor.get("shape")
    if not isinstance(shape, list) or len(shape) > 8:
        raise MalformedRequest("Every input needs a shape: a list of at most 8 sizes.")
    if not all(isinstance(d, int) and not isinstance(d, bool) and 0 <= d < LARGEST_DIMENSION for d in shape):
        raise MalformedRequest("The sizes of a shape are whole numbers, not negative.")
    return tuple(shape)


def _outputs(entries: Any, binary_default: bool) -> tuple[RequestedOutput, ...] | None:
    if entries is None:
        return None
    if not isinstance(entries, list):
        raise MalformedRequest("`outputs` must be a list.")
    outputs: list[RequestedOutput] = []
    for entry in entries:
        output = _mapping(entry, "an output")
        name = output.get("name")
        if not isinstance(name, str):
            raise MalformedRequest("Every output needs a name.")
        parameters = _parameters(output)
        binary = _flag(parameters, "binary_data", binary_default)
        top = parameters.get("classification", 0)
        if not isinstance(top, int) or isinstance(top, bool) or top < 0:
            raise MalformedRequest("The parameter classification must be a positive whole number.")
        if any(other.name == name for other in outputs):
            raise MalformedRequest(f"The output {name[:64]!r} is asked for twice.")
        if len(outputs) == MOST_OUTPUTS:
            raise TooLarge(f"More than {MOST_OUTPUTS} outputs are asked for.")
        outputs.append(RequestedOutput(name, binary, top))
    if not outputs:
        return None
    return tuple(outputs)
