"""Long lists of numbers in JSON, read in pieces, give the same values as Python's own parser."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import MalformedRequest, ServiceError
from service.http.open_inference.json_numbers import LONG_LIST, NUMBERS_PIECE, pieces_of, take_out_lists
from service.http.open_inference.requests import read_request


def anything_goes(name: str, datatype: str, shape: tuple[int, ...]) -> None:
    pass


def document(data: object, shape: list[int], datatype: str = "FP32", **fields: Any) -> bytes:
    tensor = {"name": "input", "datatype": datatype, "shape": shape, "data": data, **fields}
    return json.dumps({"inputs": [tensor], "id": 'an "id" with "data": [1, 2]'}).encode()


def read(body: bytes) -> np.ndarray:
    return read_request(body, None, anything_goes).inputs["input"]


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64", "UINT8", "BOOL"])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("fields", [{}, {"parameters": {"a": 1}}])
def test_a_long_tensor_is_what_was_sent(datatype: str, nested: bool, fields: dict[str, Any]) -> None:
    kind = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "UINT8": "<u1", "BOOL": "?"}[datatype]
    sent = (np.random.default_rng(0).normal(size=(7, 3, 40, 41)) * 100).astype(kind)
    body = document(sent.tolist() if nested else sent.ravel().tolist(), list(sent.shape), datatype, **fields)
    assert len(take_out_lists(body)[1]) == 1
    assert len(body) > 2 * NUMBERS_PIECE
    np.testing.assert_array_equal(read(body), sent)


def test_two_long_tensors_keep_their_places() -> None:
    count = LONG_LIST
    entries = [
        {"name": name, "datatype": "INT64", "shape": [count], "data": list(range(start, start + count))}
        for name, start in (("a", 0), ("b", 5))
    ]
    inputs = read_request(json.dumps({"inputs": entries}).encode(), None, anything_goes).inputs
    assert (inputs["a"][0], inputs["b"][0], inputs["b"][-1]) == (0, 5, count + 4)


ZEROS = "0," * LONG_LIST


@pytest.mark.parametrize(
    "data",
    [
        f"[{ZEROS}]", f"[{ZEROS},0]", f"[{ZEROS}0", f"{ZEROS}0]", f"[[{ZEROS}0]", f"[{ZEROS}x]", f"[{ZEROS}0 0]",
        f"[{ZEROS}01]", f"[{ZEROS}+1]", f"[{ZEROS}[0][0]]", f"[{ZEROS}{'9' * 3 * NUMBERS_PIECE}]", f"[{ZEROS}1.]",
        f"[{ZEROS}null]", f"[{' ' * 4 * NUMBERS_PIECE}]",
    ],
)  # fmt: skip
def test_what_is_no_list_of_numbers_is_refused(data: str) -> None:
    count = LONG_LIST + 1
    text = f'{{"inputs": [{{"name": "input", "datatype": "FP32", "shape": [{count}], "data": {data}}}]}}'
    with pytest.raises(MalformedRequest):
        read(text.encode())


def test_a_number_in_place_of_data_is_no_list() -> None:
    with pytest.raises(MalformedRequest):
        read(document(0, [1]))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers() | st.floats(allow_nan=False), min_size=1, max_size=50))
def test_pieces_are_what_the_parser_gives(values: list[float]) -> None:
    text = json.dumps(values).encode()
    assert [value for piece in pieces_of(text) for value in piece] == json.loads(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(['"data": [', "1,", "]", "}", "{", '"', "[", ' "a"', ": ", ","]), max_size=40))
def test_no_text_breaks_the_reader(tokens: list[str]) -> None:
    body = "".join(token * (LONG_LIST if token == "1," else 1) for token in tokens).encode()
    with suppress(ServiceError):
        read_request(body or b" ", None, anything_goes)
