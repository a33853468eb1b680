"""The image that a file takes: what it leaves open comes from its first convolution and the flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.gradient import prepare
from export.graph.errors import GradientError
from export.importing import ImportedModel, import_classifier
from service.images.preprocess import normalise
from tests.export.importing.graphs import answer, body, classifier, images, node, options, saved, weights

FREE = ("batch", "channels", "height", "width")


def imported(model: ModelProto, folder: Path, **changes: Any) -> ImportedModel:
    return import_classifier(saved(model, folder), options(**changes))


def refusal(model: ModelProto, folder: Path, **changes: Any) -> str:
    with pytest.raises(GradientError) as caught:
        imported(model, folder, **changes)
    return str(caught.value)


def grey(image: Any) -> ModelProto:
    return classifier(image=image, constants={"conv.weight": weights()["conv.weight"][:, :1]})


def channels_last(image: Any) -> ModelProto:
    nodes = [node("Transpose", ["image"], ["x"], perm=[0, 3, 1, 2]), *body()]
    nodes[1].input[0] = "x"
    return classifier(nodes, image=image)


def scaled_first(image: Any) -> ModelProto:
    """Normalised in the graph before its first convolution."""
    nodes = [
        node("Sub", ["image", "middle"], ["s"]),
        node("Mul", ["s", "two"], ["m"]),
        node("Pad", ["m", "edge"], ["x"]),
        *body(),
    ]
    nodes[3].input[0] = "x"
    constants = {
        "middle": np.array(0.5, np.float32),
        "two": np.array(2, np.float32),
        "edge": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    }
    return classifier(nodes, image=image, constants=constants)


def grouped(image: Any) -> ModelProto:
    nodes = body()
    nodes[0].attribute.append(helper.make_attribute("group", 3))
    small = {"conv.weight": weights()["conv.weight"][:3, :1], "conv.bias": np.zeros(3, np.float32)}
    return classifier(nodes, image=image, constants={**small, "head.weight": weights()["head.weight"][:, :3]})


def of_tokens(image: Any) -> ModelProto:
    """No convolution: every pixel is a token."""
    nodes = [
        node("Reshape", ["image", "rows"], ["seq"]),
        node("MatMul", ["seq", "w"], ["r"]),
        node("ReduceMean", ["r", "axis"], ["flat"], keepdims=0),
        body()[4],
    ]
    constants = {
        "rows": np.array([0, -1, 6]),
        "axis": np.array([1]),
        "w": np.ones((6, 5), np.float32),
    }
    return classifier(nodes, image=image, constants=constants)


@pytest.mark.parametrize(
    "image", [FREE, ("", "", "", ""), (-1, -1, -1, -1), (0, 0, 0, 0), ("N", "C", 6, 6), None], ids=str
)
@pytest.mark.parametrize(
    ("made", "layout", "channels"),
    [
        (lambda image: classifier(image=image), "nchw", 3),
        (grey, "nchw", 1),
        (channels_last, "nhwc", 3),
        (scaled_first, "nchw", 3),
        (grouped, "nchw", 3),
    ],
    ids=["plain", "grey", "channels last", "scaled first", "grouped"],
)
def test_the_first_convolution_says_where_the_channels_are_and_how_many(
    tmp_path: Path, made: Any, layout: str, channels: int, image: Any
) -> None:
    if image == ("N", "C", 6, 6) and layout == "nhwc":
        image = ("N", 6, 6, "C")
    model = made(image)
    found = imported(model, tmp_path, size=(6, 6), mean=(0.5,), std=(0.25,))
    spec = found.input
    assert (spec.layout, spec.channels, spec.height, spec.width) == (layout, channels, 6, 6)
    assert spec.mean == (0.5,) * channels
    batch = images(2, channels=channels)
    batch = batch if layout == "nchw" else batch.transpose(0, 2, 3, 1)
    assert np.allclose(answer(prepare(found.model).forward, batch), answer(model, batch), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_without_a_convolution_the_mean_says_how_many_channels(tmp_path: Path, channels: int) -> None:
    model = of_tokens(FREE)
    found = imported(model, tmp_path, size=(6, 6), mean=(0.5,) * channels, std=(0.25,)).input
    assert (found.layout, found.channels) == ("nchw", channels)


def test_a_layout_that_the_flag_says_is_taken_where_nothing_contradicts_it(tmp_path: Path) -> None:
    assert imported(of_tokens(FREE), tmp_path, size=(6, 6), layout="nhwc").input.layout == "nhwc"
    words = refusal(classifier(image=FREE), tmp_path, size=(6, 6), layout="nhwc")
    assert words == "--layout nhwc: the first convolution reads the image as nchw"


def test_sizes_that_fit_both_layouts_are_decided_by_the_convolution(tmp_path: Path) -> None:
    assert imported(channels_last(("N", 3, 6, 3)), tmp_path).input.layout == "nhwc"
    assert imported(classifier(image=("N", 3, 6, 3)), tmp_path).input.layout == "nchw"


@pytest.mark.parametrize("image", [FREE, ("N", 3, "H", "W"), ("N", 3, 6, "W")])
def test_an_open_size_is_asked_for_by_its_flag(tmp_path: Path, image: Any) -> None:
    assert "--size HEIGHT,WIDTH" in refusal(classifier(image=image), tmp_path)


def test_a_crop_says_an_open_size(tmp_path: Path) -> None:
    found = imported(classifier(image=FREE), tmp_path, resize=8, crop=6).input
    assert (found.resize, found.height, found.width) == (8, 6, 6)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (classifier(image=("N", 1, 6, 6)), "does not fit its first convolution, which reads 3 channels"),
        (classifier(image=FREE, constants={"conv.weight": np.ones((5, 4, 3, 3), np.float32)}), "has 4 channels"),
        (classifier(image=("N", 3, 6)), "no image input"),
        (classifier(image=("N", 12)), "no image input"),
        (classifier(image=("N", 12), element=TensorProto.INT64), "its input is image int64 [N, 12]"),
        (classifier(element=TensorProto.STRING), "its input is image string"),
    ],
)
def test_what_is_no_image_is_described(tmp_path: Path, model: ModelProto, words: str) -> None:
    assert words in refusal(model, tmp_path, size=(6, 6))


def test_an_input_that_is_no_tensor_is_described(tmp_path: Path) -> None:
    model = classifier()
    model.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("image", TensorProto.FLOAT, None))
    assert "its input is image sequence" in refusal(model, tmp_path)


# ── pixels as bytes ───────────────────────────────────────────────────────────────────────────────


def of_bytes(element: int, layout: str = "nhwc") -> ModelProto:
    """Integers, moved and cast in the graph, and scaled there."""
    order = [0, 3, 1, 2] if layout == "nhwc" else [0, 1, 2, 3]
    nodes = [
        node("Transpose", ["image"], ["t"], perm=order),
        node("Cast", ["t"], ["f"], to=TensorProto.FLOAT),
        node("Div", ["f", "all"], ["x"]),
        *body(),
    ]
    nodes[3].input[0] = "x"
    image = ("N", 6, 6, 3) if layout == "nhwc" else ("N", 3, 6, 6)
    return classifier(nodes, image=image, element=element, constants={"all": np.array(255, np.float32)})


@pytest.mark.parametrize("element", [TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64])
@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("scale", [1.0, 255.0])
def test_pixels_as_integers_reach_the_net_as_they_are(tmp_path: Path, element: int, layout: str, scale: float) -> None:
    model = of_bytes(element, layout)
    found = imported(model, tmp_path, mean=(0.0,) * 3, std=(1.0,) * 3, scale=scale)
    assert any("takes pixels as integers" in note for note in found.notes)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3), dtype=np.uint8)
    ours = answer(prepare(found.model).forward, normalise(pixels, found.input))
    own = pixels if layout == "nhwc" else pixels.transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"image": own.astype(helper.tensor_dtype_to_np_dtype(element))})[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_mean_for_pixels_as_integers_is_refused(tmp_path: Path) -> None:
    assert "say --mean 0 --std 1" in refusal(of_bytes(TensorProto.UINT8), tmp_path)


def test_arithmetic_with_integers_is_refused(tmp_path: Path) -> None:
    model = of_bytes(TensorProto.UINT8)
    model.graph.node.insert(0, node("Add", ["image", "image"], ["more"], "twice"))
    model.graph.node[1].input[0] = "more"
    words = refusal(model, tmp_path, mean=(0.0,), std=(1.0,))
    assert "Add (node 'twice') computes with the integers of input 'image'" in words


@pytest.mark.parametrize(
    ("operator", "operands", "attributes"),
    [
        ("Gather", ["order"], {"axis": 1}),
        ("Pad", ["pads"], {}),
        ("Resize", ["", "factors"], {"mode": "nearest"}),
        ("Tile", ["once"], {}),
    ],
)
def test_pixels_are_moved_as_integers_before_they_are_cast(
    tmp_path: Path, operator: str, operands: list[str], attributes: dict[str, Any]
) -> None:
    """Channels put in order, a border, half the size: preprocessing inside the graph."""
    model = of_bytes(TensorProto.UINT8, "nchw")
    model.graph.node.insert(0, node(operator, ["image", *operands], ["moved"], "moving", **attributes))
    model.graph.node[1].input[0] = "moved"
    constants = {
        "order": np.array([2, 1, 0]),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "factors": np.array([1, 1, 0.5, 2], np.float32),
        "once": np.array([1, 1, 1, 2]),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    found = imported(model, tmp_path, mean=(0.0,) * 3, std=(1.0,) * 3)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3), dtype=np.uint8)
    ours = answer(prepare(found.model).forward, normalise(pixels, found.input))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {"image": pixels.transpose(0, 3, 1, 2)})[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
