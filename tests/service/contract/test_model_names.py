"""A model that nobody has named is called after its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.contract.model_names import fit_name, name_of


@pytest.mark.parametrize(
    ("text", "name"),
    [("net", "net"), ("My net (v2)", "My-net-v2-"), ("größe", "gr-e"), ("_x", "x"), ("日本", ""), ("a" * 80, "a" * 64)],
)
def test_a_name_is_made_fit(text: str, name: str) -> None:
    assert fit_name(text) == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("pets/resnet18.onnx", "resnet18"),
        ("pets/model.onnx", "pets"),
        ("pets/onnx/model_quantized.onnx", "pets"),
        ("plain56/forward.onnx", "plain56"),
        ("runs/flowers/weights/best.onnx", "flowers"),
        ("models--owner--vit-tiny/snapshots/" + "0" * 40 + "/model.onnx", "vit-tiny"),
        ("pets/12/inference.onnx", "pets"),
        ("best-of-show.onnx", "best-of-show"),
    ],
)
def test_a_file_that_is_called_as_any_other_takes_the_name_of_its_folder(path: str, name: str) -> None:
    assert name_of(Path("/nets") / path) == name


def test_where_no_name_says_anything_the_model_is_called_model() -> None:
    assert name_of(Path("/onnx/1/model.onnx")) == "model"
