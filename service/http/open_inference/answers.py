"""Writes an infer answer: JSON, then the binary outputs in the order of `outputs`."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from service.contract.arrays import Array
from service.http.answers.negotiation import preferred_coding
from service.http.answers.responses import JSON, Answer, to_json
from service.http.open_inference.requests import RequestedOutput
from service.http.open_inference.tensors import datatype_of, to_binary, to_json_data

HEADER_LENGTH = "inference-header-content-length"
SMALLEST_COMPRESSED = 512
VALUES_IN_A_PIECE = 8192


def infer_answer(
    identity: Mapping[str, Any], outputs: Sequence[tuple[RequestedOutput, Array]], accept_encoding: str
) -> Answer:
    """Write an infer answer, in the content coding that the client likes best.

    `identity` holds model_name, model_version and perhaps id. An answer with binary outputs says in a header how long
    its JSON is; one without must not.
    """
    described, raw = [], []
    for requested, array in outputs:
        entry: dict[str, Any] = {
            "name": requested.name,
            "datatype": datatype_of(array),
            "shape": list(array.shape),
        }
        if requested.binary:
            content = to_binary(array)
            entry["parameters"] = {"binary_data_size": len(content)}
            raw.append(content)
            described.append(to_json(entry))
        else:
            described.append(b'%s,"data":[%s]}' % (to_json(entry)[:-1], b",".join(_data_in_pieces(array))))
    document = b'%s,"outputs":[%s]}' % (to_json(identity)[:-1], b",".join(described))
    headers = [JSON]
    if raw:
        headers = [(b"content-type", b"application/octet-stream"), (HEADER_LENGTH.encode(), b"%d" % len(document))]
    body, coding = compressed(b"".join([document, *raw]), accept_encoding)
    if coding is not None:
        headers.append((b"content-encoding", coding.encode()))
    return Answer(200, [*headers, (b"vary", b"accept-encoding")], body)


def _data_in_pieces(array: Array) -> Iterator[bytes]:
    """Write the values as JSON in pieces, so that the interpreter is held only as long as one piece takes."""
    flat = array.ravel()
    for start in range(0, len(flat), VALUES_IN_A_PIECE):
        yield to_json(to_json_data(flat[start : start + VALUES_IN_A_PIECE]))[1:-1]


def classified(scores: Array, labels: Sequence[str], top: int) -> Array:
    """Return BYTES [n, top]: `value:index:label` of the best `top` classes, best first (classification extension)."""
    ranking = np.argsort(-scores, axis=1, kind="stable")[:, : min(top, scores.shape[1])]
    result = np.empty(ranking.shape, dtype=object)
    for row, classes in enumerate(ranking):
        for column, index in enumerate(classes):
            result[row, column] = f"{scores[row, index]:f}:{index}:{labels[index]}".encode()
    return result


def compressed(body: bytes, accept_encoding: str) -> tuple[bytes, str | None]:
    """Return the body in the content coding that the client prefers, and the coding; a short body stays as it is."""
    coding = preferred_coding(accept_encoding) if len(body) >= SMALLEST_COMPRESSED else None
    if coding == "gzip":
        return gzip.compress(body, compresslevel=1), coding
    if coding == "deflate":
        return zlib.compress(body, level=1), coding
    return body, None
