"""One model of each kind as its producer writes it, with the reference pipeline of that producer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper
from onnxruntime.quantization import quantize_dynamic
from PIL import Image

from export.coverage.architectures.from_torchvision import torchvision_models
from tests.export.importing.folders.producers import CLASSES, folder_with, network
from tests.export.importing.graphs import body, node, weights

torchvision_models()  # or none of these could import torchvision
import timm.data as timm_data  # noqa: E402
import transformers  # noqa: E402
from torchvision import transforms  # noqa: E402

Tensors = Callable[[Image.Image], NDArray[Any]]
SIDE = 48
IMAGENET_RESIZE = int(SIDE / 0.875)
"""The preset rounds down, as timm does."""
BGR_BYTES = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LABELS = {str(number): label for number, label in enumerate(CLASSES)}
NUMBERS = tuple("0123")
PADDLE = """
PreProcess: {transform_ops: [ResizeImage: {resize_short: 56}, CropImage: {size: 48}, NormalizeImage: {order: ''}]}
PostProcess: {Topk: {topk: 5, label_list: [ant, bee, cat, dog]}}
"""
PBTXT = """
platform: "onnxruntime_onnx"
input [ { name: "image" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, 48, 48 ] } ]
output [ { name: "scores" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" } ]
"""


def softmax(scores: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(scores - scores.max())
    return np.asarray(powers / powers.sum())


def unchanged(scores: NDArray[Any]) -> NDArray[Any]:
    return scores


def sigmoid(scores: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(1 / (1 + np.exp(-scores)))


@dataclass(frozen=True)
class Stranger:
    """A model at `path`, and how its producer's own code answers."""

    path: Path
    """The path that `contraflow check` and `contraflow serve` are given."""
    file: Path
    """The .onnx file that is run."""
    tensor: Tensors
    """The tensor that the producer's pipeline makes of a picture, without the axis of the batch."""
    ending: Callable[[NDArray[Any]], NDArray[Any]] = softmax
    """Probabilities of the file's first answer to one picture."""
    labels: tuple[str, ...] = CLASSES
    flags: tuple[str, ...] = field(default=())

    def probabilities(self, picture: Image.Image) -> dict[str, float]:
        """Return the probability of each label, by the producer's pipeline and ONNX Runtime."""
        session = onnxruntime.InferenceSession(self.file, providers=["CPUExecutionProvider"])
        answer = session.run(None, {session.get_inputs()[0].name: self.tensor(picture)[None]})[0][0]
        if isinstance(answer, Mapping):  # ZipMap
            return {str(label): float(value) for label, value in answer.items()}
        return dict(zip(self.labels, map(float, self.ending(np.asarray(answer, np.float64))), strict=True))


def _torchvision(resize: int | tuple[int, int], mean: Any = MEAN, std: Any = STD) -> Tensors:
    steps = [
        transforms.Resize(resize), transforms.CenterCrop(SIDE), transforms.ToTensor(), transforms.Normalize(mean, std)
    ]  # fmt: skip
    transform = transforms.Compose(steps)
    return lambda picture: np.asarray(transform(picture).numpy())


def _processor(folder: Path) -> Tensors:
    """Return the folder's own image processor, as transformers loads it."""
    auto: Any = transformers.AutoImageProcessor
    processor = auto.from_pretrained(folder, backend="pil")
    return lambda picture: np.asarray(processor(picture, return_tensors="np")["pixel_values"][0])


def hugging_face(folder: Path) -> Stranger:
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": SIDE, "width": SIDE})
    folder_with(
        folder, {"config.json": {"model_type": "clip", "id2label": LABELS}}, network((SIDE, SIDE)), "model.onnx"
    )
    processor.save_pretrained(folder)
    return Stranger(folder, folder / "model.onnx", _processor(folder))


def optimum(folder: Path) -> Stranger:
    """The file lies in `onnx/`, and labels are independent by `problem_type`."""
    described = {"model_type": "vit", "id2label": LABELS, "problem_type": "multi_label_classification"}
    folder_with(folder, {"config.json": described}, network((SIDE, SIDE)), "onnx/model.onnx")
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return Stranger(folder, folder / "onnx" / "model.onnx", _processor(folder), sigmoid)


def timm_folder(folder: Path) -> Stranger:
    cfg = {"input_size": [3, SIDE, SIDE], "interpolation": "bicubic", "crop_pct": 0.9, "mean": MEAN, "std": STD}
    described = {"architecture": "resnet18", "label_names": CLASSES, "pretrained_cfg": cfg}
    folder_with(folder, {"config.json": described}, network((SIDE, SIDE)))
    data: Any = timm_data
    transform: Any = data.create_transform(**data.resolve_data_config({}, pretrained_cfg=cfg))
    return Stranger(folder, folder / "model.onnx", lambda picture: np.asarray(transform(picture).numpy()))


def ultralytics(folder: Path) -> Stranger:
    """The file alone says everything; the steps are those of its classify_transforms."""
    metadata = {"task": "classify", "imgsz": f"[{SIDE}, {SIDE}]", "names": str(dict(enumerate(CLASSES)))}
    folder.mkdir()
    onnx.save(network((SIDE, SIDE), metadata), folder / "flowers.onnx")
    file = folder / "flowers.onnx"
    return Stranger(file, file, _torchvision(SIDE, (0.0,) * 3, (1.0,) * 3))


def paddle(folder: Path) -> Stranger:
    folder_with(folder, {"inference.yml": PADDLE}, network((SIDE, SIDE)))

    def tensor(picture: Image.Image) -> NDArray[Any]:
        share = 56 / min(picture.size)
        pixels = cv2.resize(np.asarray(picture), (round(picture.width * share), round(picture.height * share)))
        top, left = (pixels.shape[0] - SIDE) // 2, (pixels.shape[1] - SIDE) // 2
        cropped = pixels[top : top + SIDE, left : left + SIDE].astype(np.float32) / 255
        return np.asarray(((cropped - np.array(MEAN, np.float32)) / np.array(STD, np.float32)).transpose(2, 0, 1))

    return Stranger(folder, folder / "model.onnx", tensor)


def custom_vision(folder: Path) -> Stranger:
    """Its sample stretches with Pillow's own default and turns the channels; scores come as a map."""
    nodes = [
        *body(),
        node("Softmax", ["scores"], ["shares"], "softmax", axis=1),
        node("ZipMap", ["shares"], ["loss"], "zipmap", domain="ai.onnx.ml", classlabels_strings=list(CLASSES)),
    ]
    model = network((SIDE, SIDE), BGR_BYTES, nodes=nodes, outputs=("loss",), domains=("ai.onnx.ml",))
    mapped = helper.make_map_type_proto(
        onnx.TensorProto.STRING, helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
    )
    model.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(mapped))
    folder_with(folder, {"labels.txt": "\n".join(CLASSES), "cvexport.manifest": {"ExporterVersion": "2.1"}}, model)

    def tensor(picture: Image.Image) -> NDArray[Any]:
        return np.ascontiguousarray(np.asarray(picture.resize((SIDE, SIDE)), np.float32)[..., ::-1].transpose(2, 0, 1))

    return Stranger(folder, folder / "model.onnx", tensor)


def onnx_metadata(folder: Path) -> Stranger:
    """`Image.*` says nothing of the resize, which is then stretched."""
    metadata = {"Image.BitmapPixelFormat": "Rgb8", "Image.NominalPixelRange": "Normalized_0_1"}
    folder_with(folder, {"classes.txt": "\n".join(CLASSES)}, network((SIDE, SIDE), metadata))
    return Stranger(folder, folder / "model.onnx", _torchvision((SIDE, SIDE), (0.0,) * 3, (1.0,) * 3))


def keras(folder: Path) -> Stranger:
    """Channels come last, and the file ends in its own Softmax, as tf2onnx writes it."""
    nodes = [
        node("Transpose", ["image"], ["turned"], "turn", perm=[0, 3, 1, 2]),
        *body(),
        node("Softmax", ["scores"], ["shares"], "softmax", axis=1),
    ]
    nodes[1].input[0] = "turned"
    model = network(nodes=nodes, outputs=("shares",))
    sides = model.graph.input[0].type.tensor_type.shape.dim
    for side, length in zip(list(sides)[1:], (SIDE, SIDE, 3), strict=True):
        side.Clear()
        side.dim_value = length
    model.producer_name = "tf2onnx"
    indices = {label: number for number, label in enumerate(CLASSES)}
    folder_with(folder, {"class_indices.json": json.dumps(indices)}, model)

    def tensor(picture: Image.Image) -> NDArray[Any]:
        stretched = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        return np.asarray(stretched, np.float32) / np.float32(127.5) - 1

    return Stranger(folder, folder / "model.onnx", tensor, unchanged, flags=("--preprocessing", "tf"))


def triton(folder: Path) -> Stranger:
    """Two versions, of which the later answers."""
    for version in (1, 2):
        model = network((SIDE, SIDE), constants=weights(version))
        folder_with(folder, {"config.pbtxt": PBTXT, "labels.txt": "\n".join(CLASSES)}, model, f"{version}/model.onnx")
    file = folder / "2" / "model.onnx"
    return Stranger(folder, file, _torchvision(IMAGENET_RESIZE), flags=("--preprocessing", "imagenet"))


def bare(folder: Path) -> Stranger:
    folder.mkdir()
    file = folder / "network.onnx"
    onnx.save(network((SIDE, SIDE)), file)
    flags = ("--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)), "--resize", "60")
    return Stranger(file, file, _torchvision(60), labels=NUMBERS, flags=flags)


def int8(folder: Path) -> Stranger:
    """ONNX Runtime's dynamic quantization; /predict runs the file's own graph."""
    folder.mkdir()
    onnx.save(network((SIDE, SIDE)), folder / "float.onnx")
    quantize_dynamic(folder / "float.onnx", folder / "quantized.onnx")
    file = folder / "quantized.onnx"
    flags = ("--preprocessing", "imagenet")
    return Stranger(file, file, _torchvision(IMAGENET_RESIZE), labels=NUMBERS, flags=flags)


KINDS: dict[str, Callable[[Path], Stranger]] = {
    maker.__name__: maker
    for maker in (
        *(hugging_face, optimum, timm_folder, ultralytics, paddle, custom_vision, onnx_metadata),
        *(keras, triton, bare, int8),
    )
}
