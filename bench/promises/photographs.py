"""Promise 7: `curl --data-binary` gets from every bundle what the training's own pipeline gives."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.promises.bundles import IMAGES, SHIPPED
from bench.promises.findings import Finding, at_most, exactly
from bench.promises.metrics import all_ready, wait_until
from bench.replicas import replicas

SIZE = (32, 32)
TOLERANCE = 1e-5


def measure() -> Iterator[Finding]:
    """Every test photograph of the training's size, by every bundle, in two protocols."""
    files = [path for path in sorted(IMAGES.iterdir()) if path.suffix in (".jpg", ".png") and _plain(path)]
    bundles = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())
    apart = {"/predict": 0.0, "open protocol": 0.0}
    asked = wrong = 0
    with replicas(1, SHIPPED, "--log-level", "error") as (service,):
        wait_until(lambda: all_ready(service.port))
        for bundle in bundles:
            expected = trained_pipeline(SHIPPED / bundle, files)
            for file, row in zip(files, expected, strict=True):
                for protocol, given in _given(service.port, bundle, file).items():
                    apart[protocol] = max(apart[protocol], float(np.abs(given - row).max()))
                    wrong += int(given.argmax() != row.argmax())
                    asked += 1
    yield Finding("asked by curl", f"{asked} times: {len(bundles)} bundles, {len(files)} photographs, two protocols")
    yield exactly("other first labels than the training's pipeline gives", wrong, 0)
    for protocol, difference in apart.items():
        yield at_most(f"largest difference of a probability, {protocol}", difference, TOLERANCE, "")


def _plain(path: Path) -> bool:
    with Image.open(path) as image:
        return image.size == SIZE and image.mode == "RGB" and not image.getexif()


def trained_pipeline(bundle: Path, files: list[Path]) -> NDArray[np.float32]:
    """Probabilities [n, K]: decoded and normalised as `models.training` does, then the forward graph."""
    recipe = json.loads((bundle / "bundle.json").read_text())["input"]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("RGB")) for file in files])
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    batch = (batch - torch.tensor(recipe["mean"]).view(3, 1, 1)) / torch.tensor(recipe["std"]).view(3, 1, 1)
    session = onnxruntime.InferenceSession(str(bundle / "forward.onnx"), providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"input": batch.numpy()})[0]
    probabilities: NDArray[np.float32] = torch.softmax(torch.from_numpy(logits), 1).numpy()
    return probabilities


def _given(port: int, bundle: str, file: Path) -> dict[str, NDArray[np.float64]]:
    predicted = _curl(f"http://127.0.0.1:{port}/predict?model={bundle}&top_k=1000", file)
    labels = predicted["predictions"][0]["labels"]
    inferred = _curl(f"http://127.0.0.1:{port}/v2/models/{bundle}/infer", file, "Inference-Header-Content-Length: 0")
    outputs = {output["name"]: output["data"] for output in inferred["outputs"]}
    ranked = np.array([entry["probability"] for entry in sorted(labels, key=lambda entry: entry["index"])])
    return {"/predict": ranked, "open protocol": np.array(outputs["probabilities"])}


def _curl(url: str, file: Path, *headers: str) -> dict[str, list[dict[str, object]]]:
    extra = [part for header in headers for part in ("-H", header)]
    done = subprocess.run(["curl", "-sS", *extra, "--data-binary", f"@{file}", url], check=True, capture_output=True)
    document: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
    return document
