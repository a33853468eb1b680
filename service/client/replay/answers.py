"""Brings what an answer of `/predict` or of the open protocol says into one form."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from service.contract.arrays import Array
from service.errors import ServiceError
from service.http.open_inference.tensors import from_binary

RANKED: Final = ("probabilities", "logits")
"""Tensors that tell the top label, the better one first."""


@dataclass
class Said:
    """The content of an answer.

    Attributes:
        probabilities: of each image by label, or by the class's number where the answer names none, as "#3".
        tops: the most probable label of each image.
        predicted: the labels that apply to each image, where labels are independent; else None.
        tensors: the other outputs of the open protocol.
        model: what answered, as "name@version".
    """

    probabilities: list[dict[str, float]] = field(default_factory=list)
    tops: list[str] = field(default_factory=list)
    predicted: list[list[str]] | None = None
    tensors: dict[str, Array] = field(default_factory=dict)
    model: str | None = None


def said_in(answer: bytes) -> Said | None:
    """Return what an answer says; None if it is none of a prediction."""
    try:
        document, binary = _document(answer)
        if "predictions" in document:
            said = _of_predictions(document["predictions"])
            said.model = f"{document['model']}@{document['version']}"
        else:
            said = _of_outputs(_tensors(document["outputs"], binary))
            said.model = f"{document['model_name']}@{document['model_version']}"
        return said
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ServiceError):
        return None


def _document(answer: bytes) -> tuple[Any, bytes]:
    """Return the JSON, and the binary tensors that follow it."""
    try:
        return json.loads(answer), b""
    except ValueError:
        _, end = json.JSONDecoder().raw_decode(answer.decode("latin-1"))
        return json.loads(answer[:end]), answer[end:]


def _of_predictions(predictions: list[Any]) -> Said:
    said = Said()
    for one in predictions:
        ranked = {str(entry["label"]): float(entry["probability"]) for entry in one["labels"]}
        said.probabilities.append(ranked)
        said.tops.append(str(one["labels"][0]["label"]))
    if any("predicted" in one for one in predictions):
        said.predicted = [[str(label) for label in one["predicted"]] for one in predictions]
    return said


def _tensors(outputs: Iterable[Mapping[str, Any]], binary: bytes) -> dict[str, Array]:
    """Return the outputs by name; numbers as float64, classifications as text."""
    tensors, start = {}, 0
    for output in outputs:
        name, datatype, shape = str(output["name"]), output["datatype"], tuple(output["shape"])
        if "data" in output:
            values = output["data"]
        else:
            size = output["parameters"]["binary_data_size"]
            values = from_binary(name, datatype, shape, memoryview(binary)[start : start + size]).ravel().tolist()
            start += size
        if datatype == "BYTES":
            values = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
            tensors[name] = np.array(values, dtype=object).reshape(shape)
        else:
            tensors[name] = np.array([float(value) for value in values]).reshape(shape)  # "NaN" is text
    return tensors


def _of_outputs(tensors: dict[str, Array]) -> Said:
    said = Said()
    ranked = {name: [_ranked(row) for row in tensors[name]] for name in RANKED if name in tensors}
    said.probabilities = ranked.get("probabilities", [])
    for rows in list(ranked.values())[:1]:
        said.tops = [max(row, key=lambda label: _orderable(row[label])) for row in rows]
    for name, tensor in tensors.items():
        if name != "probabilities":
            said.tensors[name] = np.array([list(row.values()) for row in ranked[name]]) if name in ranked else tensor
    return said


def _ranked(row: Array) -> dict[str, float]:
    """Return the scores of one image, which a classification has as `value:index:label`."""
    if row.dtype == object:
        parts = [str(entry).split(":", 2) for entry in row]
        return {label: float(value) for value, _, label in parts}
    return {f"#{index}": float(value) for index, value in enumerate(row)}


def _orderable(score: float) -> float:
    return -math.inf if math.isnan(score) else score
