"""Two answers compared by `contraflow replay`."""

from __future__ import annotations

import json

import pytest

from service.client.replay.differences import compared, probability_gap


def test_numbers_that_are_not_finite_are_compared_too() -> None:
    def answer(probability: object, tensor: object = 1.0) -> tuple[int, bytes]:
        outputs = [
            {"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [probability, 0.25]},
            {"name": "weight_gradient_norm", "datatype": "FP64", "shape": [1, 1], "data": [tensor]},
        ]
        return 200, json.dumps({"model_name": "m", "model_version": "1", "outputs": outputs}).encode()

    def kind(before: tuple[int, bytes], now: tuple[int, bytes]) -> str | None:
        difference = compared(before, now, 1e-4).difference
        return difference and difference.kind

    assert kind(answer("NaN"), answer("NaN")) is None
    assert kind(answer("NaN", "Infinity"), answer("NaN", "Infinity")) is None
    assert kind(answer("NaN"), answer(0.2)) == "probability"
    assert kind(answer("NaN"), answer(0.3)) == "label"
    assert kind(answer(0.3, 1.0), answer(0.3, "Infinity")) == "tensor"
    assert kind(answer(0.3, 1000.0), answer(0.3, 1000.05)) is None
    assert kind(answer(0.3, 0.0), answer(0.3, 0.1)) == "tensor"


@pytest.mark.parametrize(
    ("before", "now", "gap"),
    [
        ({"cat": 0.75, "dog": 0.25}, {"dog": 0.5, "cat": 0.5}, 0.25),
        ({"cat": 0.75}, {"dog": 0.5, "bee": 0.25}, 0.5),
        ({"cat": 0.5, "dog": 0.25}, {"cat": 0.5, "bee": 0.25}, 0.0),
        ({}, {}, 0.0),
    ],
    ids=["the same labels", "at least", "a tie at the end of the list", "none"],
)
def test_a_label_that_one_answer_lacks_has_at_most_its_least_probability(
    before: dict[str, float], now: dict[str, float], gap: float
) -> None:
    assert probability_gap(before, now) == gap == probability_gap(now, before)
