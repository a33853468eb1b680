"""Files that other producers wrote: Keras by tf2onnx here, the onnx package's light models among the slow tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from export.coverage.files import equal, producers
from export.coverage.rows import file_row
from export.gradient import Prepared, differentiate, prepare
from export.importing import ImportedModel, ImportOptions, import_classifier

Array = NDArray[Any]
KERAS = Path(producers.__file__).parent / "keras_small.onnx"
OUTPUTS = ("weight_square", "scaled_square", "bias_square", "input_gradient")


@pytest.fixture(scope="module")
def keras() -> ImportedModel:
    options = ImportOptions(labels=tuple("abcde"), mean=(0.5,) * 3, std=(0.25,) * 3)
    return import_classifier(KERAS, options)


def by_tensorflow() -> dict[str, Any]:
    """Norms by TensorFlow's GradientTape, as `make_keras_small.py` wrote them."""
    answers: dict[str, Any] = json.loads(KERAS.with_suffix(".json").read_text())
    return answers


def test_the_record_names_the_producer_and_the_layers(keras: ImportedModel) -> None:
    origin, folded = keras.notes
    assert origin == "imported from keras_small.onnx, written by tf2onnx 1.17.0 None"
    assert folded.startswith("no convolution is followed by a BatchNormalization")
    assert keras.input.layout == "nhwc"
    assert [layer.name.removeprefix("functional_1.") for layer in prepare(keras.model).layers] == [
        "stem_1.convolution",
        "depthwise_1",
        "pointwise_1",
        "separable_1.separable_conv2d",
        "separable_1",
        "hidden_1",
        "head_1",
    ]


def kernels(keras: ImportedModel, ready: Prepared, sizes: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Column of every layer and TensorFlow's name of its kernel, found by size and norm."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in keras.model.graph.initializer}
    for column, layer in enumerate(ready.layers):
        value = stored.get(f"{layer.name}.weight", stored.get(layer.name))
        assert value is not None
        for name, (size, norm) in sizes.items():
            if size == value.size and abs(norm - float(np.linalg.norm(value))) < 1e-5 * norm:
                yield column, name


def test_norms_are_those_that_tensorflow_computed(keras: ImportedModel) -> None:
    answers = by_tensorflow()
    samples = answers["samples"]
    ready = prepare(keras.model, constants=keras.constants)
    images = np.random.default_rng(11).normal(size=(len(samples), 24, 24, 3)).astype(np.float32)
    feeds = {
        "input": images,
        "label": np.arange(len(samples)),
        "cotangent_scale": np.ones(len(samples), dtype=np.float32),
    }
    graph = differentiate(ready, OUTPUTS)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found = dict(zip(OUTPUTS, session.run(OUTPUTS, feeds), strict=True))
    pairs = dict(kernels(keras, ready, answers["sizes"]))
    assert len(pairs) == len(ready.layers) - 1  # tf2onnx folded the normalization into the stem's kernel

    biased = [layer.name for layer in ready.layers if layer.bias]
    for number, sample in enumerate(samples):
        for column, name in pairs.items():
            assert np.sqrt(found["weight_square"][number, column]) == pytest.approx(sample["norms"][name], rel=1e-4)
            bias = {"separable/pointwise_kernel": "separable/bias"}.get(name, name.replace("kernel", "bias"))
            if bias in sample["norms"]:
                place = biased.index(ready.layers[column].name)
                norm = np.sqrt(found["bias_square"][number, place])
                assert norm == pytest.approx(sample["norms"][bias], rel=1e-4)
            assert np.sqrt(found["scaled_square"][number, column]) == pytest.approx(sample["scaled"][name], rel=1e-4)
        gradient = np.linalg.norm(found["input_gradient"][number])
        assert gradient == pytest.approx(sample["input"], rel=1e-4)


def test_a_folded_kernel_has_no_other_bias_gradient_than_its_normalization_s_shift(keras: ImportedModel) -> None:
    """dL/d(folded bias) = dL/dβ, whatever γ and σ."""
    ready = prepare(keras.model, constants=keras.constants)
    sample = by_tensorflow()["samples"][0]
    image = np.random.default_rng(11).normal(size=(1, 24, 24, 3)).astype(np.float32)
    graph = differentiate(ready, ["bias_square"])
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"input": image, "label": np.array([0]), "cotangent_scale": np.ones(1, np.float32)}
    assert np.sqrt(session.run(None, feeds)[0][0, 0]) == pytest.approx(sample["norms"]["stem_norm/beta"], rel=1e-4)


LIGHT = [file for file in producers.files() if file.package == "onnx"]


def test_all_nine_of_onnx_s_light_models_are_here() -> None:
    assert {file.name.removeprefix("light_") for file in LIGHT} == {
        "bvlc_alexnet",
        "densenet121",
        "inception_v1",
        "inception_v2",
        "resnet50",
        "shufflenet",
        "squeezenet",
        "vgg19",
        "zfnet512",
    }


def test_equal_weights_are_drawn_anew_and_others_stay(tmp_path: Path) -> None:
    light = next(file for file in LIGHT if file.name == "light_squeezenet")
    model = onnx.load(equal.drawn(light.path, tmp_path / "drawn.onnx"))
    weights = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.data_type == 1]
    assert len(weights) >= 52
    assert not any((weight == weight.flat[0]).all() for weight in weights)
    assert equal.drawn(KERAS, tmp_path / "same.onnx") == KERAS


@pytest.mark.slow
@pytest.mark.parametrize("file", LIGHT, ids=lambda file: file.name)
def test_norms_of_the_onnx_package_s_light_models_agree_with_torch_and_central_differences(
    file: producers.File, tmp_path: Path
) -> None:
    """Opset 9, a batch of one, weights from ConstantOfShape, drawn anew for the comparison."""
    row, _ = file_row(file.key, equal.drawn(file.path, tmp_path / "drawn.onnx"))
    assert row["status"] == "right", row
    assert row["differences"]["central"] < 1e-6
    assert row["http"] == "yes"
