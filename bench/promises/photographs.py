"""Promise 7: `curl --data-binary` gets the answers of the training's own pipeline from every bundle."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.harness.figures import Figure, at_most, exactly
from bench.harness.paths import SHIPPED
from bench.harness.server import service
from bench.serving.subjects import plain_photographs

TOLERANCE = 1e-5


def measure(scale: float = 1.0) -> Iterator[Figure]:
    """Send every test photograph of the training's size to every bundle, in two protocols."""
    files = plain_photographs(".jpg", ".png")
    files = files[: max(2, round(len(files) * scale))]
    bundles = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())
    apart = {"/predict": 0.0, "open protocol": 0.0}
    asked = wrong = 0
    with service(SHIPPED) as server:
        for bundle in bundles:
            for file, expected in zip(files, trained_pipeline(SHIPPED / bundle, files), strict=True):
                for protocol, given in answers(server.port, bundle, file).items():
                    apart[protocol] = max(apart[protocol], float(np.abs(given - expected).max()))
                    wrong += int(given.argmax() != expected.argmax())
                    asked += 1
    yield Figure("asked by curl", f"{asked} times: {len(bundles)} bundles, {len(files)} photographs, two protocols")
    yield exactly("other first labels than the training's pipeline gives", wrong, 0)
    for protocol, difference in apart.items():
        yield at_most(f"largest difference of a probability, {protocol}", difference, TOLERANCE)


def trained_pipeline(bundle: Path, files: Sequence[Path]) -> NDArray[np.float32]:
    """Return probabilities [n, K]: decoded and normalised as the training does it, then the forward graph."""
    recipe = json.loads((bundle / "bundle.json").read_text())["input"]
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    batch = (batch - torch.tensor(recipe["mean"]).view(3, 1, 1)) / torch.tensor(recipe["std"]).view(3, 1, 1)
    session = onnxruntime.InferenceSession(str(bundle / "forward.onnx"), providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"input": batch.numpy()})[0]
    probabilities: NDArray[np.float32] = torch.softmax(torch.from_numpy(logits), 1).numpy()
    return probabilities


def answers(port: int, bundle: str, file: Path) -> dict[str, NDArray[np.float64]]:
    """Return the probabilities that each protocol gives, in the order of the labels."""
    predicted = curl(f"http://127.0.0.1:{port}/predict?model={bundle}&top_k=1000", file)
    inferred = curl(f"http://127.0.0.1:{port}/v2/models/{bundle}/infer", file, "Inference-Header-Content-Length: 0")
    labels = sorted(predicted["predictions"][0]["labels"], key=lambda label: int(label["index"]))
    outputs = {output["name"]: output["data"] for output in inferred["outputs"]}
    return {
        "/predict": np.array([label["probability"] for label in labels]),
        "open protocol": np.array(outputs["probabilities"]),
    }


def curl(url: str, file: Path, *headers: str) -> Any:
    extra = [part for header in headers for part in ("-H", header)]
    done = subprocess.run(["curl", "-sS", *extra, "--data-binary", f"@{file}", url], check=True, capture_output=True)
    return json.loads(done.stdout)
