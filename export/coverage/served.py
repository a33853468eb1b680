"""Serve an imported model, and compare its answers over HTTP with torch."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from export.coverage.measure import Imported

READY_WITHIN = 180.0
"""Seconds."""
ANSWER_WITHIN = 120.0
"""Seconds."""
PROBABILITY_TOLERANCE = 1e-3


class ServiceDisagrees(AssertionError):
    """Raised where the service does not answer, or answers otherwise than torch."""


def ask(found: Imported, network: nn.Module) -> None:
    """Serve the bundle in a process of its own, and compare its answers with torch.

    Raises:
        ServiceDisagrees: an answer is missing, is an error, or is not torch's.
    """
    bundle = found.bundle
    shape = (bundle.input.height, bundle.input.width, 3)
    pixels = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    with torch.no_grad():
        image: Tensor = torch.from_numpy(pixels)[None].float() / 255
        image = image.permute(0, 3, 1, 2) if bundle.input.layout == "nchw" else image
        expected = network.eval()(image).softmax(1)[0].numpy()
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    command = [sys.executable, "-m", "service", "--http-port", str(port), "--bundles", str(found.folder.parent)]
    environment = {**os.environ, "CONTRAFLOW_WARM_UP": "false", "CONTRAFLOW_LOG_LEVEL": "warning"}
    environment["CONTRAFLOW_DEADLINE_MS"] = str(1000 * ANSWER_WITHIN)
    with subprocess.Popen(command, env=environment) as service:
        try:
            address = f"http://127.0.0.1:{port}"
            prediction = _when_ready(f"{address}/predict?top_k=1", _png(pixels), service)
            diagnosis = _post(f"{address}/diagnostics/gradients", _png(pixels))
        except urllib.error.HTTPError as error:
            raise ServiceDisagrees(f"{error.url}: {error.code} {error.read().decode()}") from error
        finally:
            service.terminate()
    first = prediction["predictions"][0]["labels"][0]
    if abs(first["probability"] - expected[first["index"]]) > PROBABILITY_TOLERANCE:
        raise ServiceDisagrees(f"/predict says {first}, torch {expected[first['index']]:.6f}")
    layers = [layer["name"] for layer in diagnosis["layers"]]
    if layers != [layer.name for layer in bundle.layers]:
        raise ServiceDisagrees(f"/diagnostics/gradients names {len(layers)} layers, the bundle {len(bundle.layers)}")
    if not all(isinstance(layer["weight_gradient_norm"][0], float) for layer in diagnosis["layers"]):
        raise ServiceDisagrees("/diagnostics/gradients gives a norm that is not finite")


def _when_ready(url: str, body: bytes, service: subprocess.Popen[bytes]) -> dict[str, Any]:
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until and service.poll() is None:
        try:
            return _post(url, body)
        except urllib.error.HTTPError as error:
            if error.code not in (404, 503):
                raise ServiceDisagrees(f"{url}: {error.code} {error.read().decode()}") from error
        except urllib.error.URLError:
            pass  # not listening yet
        time.sleep(0.5)
    raise ServiceDisagrees(f"no answer from {url} within {READY_WITHIN:.0f} s")


def _post(url: str, body: bytes) -> dict[str, Any]:
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=2 * ANSWER_WITHIN) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def _png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
