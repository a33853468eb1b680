"""The bound: a bundle's graph in one process, fed from the device's own memory; and what the host does per image.

Both run in processes of their own (`call_apart`), so that a GPU holds nothing of theirs while a service is measured.
"""

from __future__ import annotations

import importlib
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
PRECISE = {"use_tf32": "0"}
"""The arithmetic of the service. Everything else is as ONNX Runtime has it."""
LONGEST_RUN = 1.0
"""Seconds of a run after which no larger batch is tried."""


def rates(files: list[str], device: str, batches: list[int], seconds: float) -> list[dict[str, float]]:
    """Return images per second of the graph in each file on "cuda" or "cpu", by batch size.

    Raises:
        RuntimeError: a graph is not on the device that was asked for, or runs with no batch.
    """
    return [_rates(_session(file, device), device, batches, seconds) for file in files]


def _rates(session: Any, device: str, batches: list[int], seconds: float) -> dict[str, float]:
    """Run one batch after another in one thread, up to a size that takes long, or for which memory does not suffice."""
    found: dict[str, float] = {}
    failure: Exception | None = None
    for batch in batches:
        try:
            found[str(batch)] = _rate(session, device, batch, seconds)
        except Exception as error:
            failure = error
            break
        if batch / found[str(batch)] > LONGEST_RUN:
            break
    if not found:
        raise RuntimeError(f"no batch runs: {failure}")
    return found


def _session(graph: str, device: str) -> Any:
    import onnxruntime

    providers: list[Any] = [CPU]
    if device == "cuda":
        with suppress(ImportError):
            importlib.import_module("torch")  # brings CUDA's libraries, where no package of theirs is installed
        onnxruntime.preload_dlls()
        providers = [(CUDA, PRECISE), CPU]
    wanted = CUDA if device == "cuda" else CPU
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=providers)
    if session.get_providers()[0] != wanted:
        raise RuntimeError(f"the graph runs on {session.get_providers()[0]}, not on {wanted}")
    return session


def _rate(session: Any, device: str, batch: int, seconds: float) -> float:
    """Return images per second, after two runs that do not count: the first of each size searches for algorithms."""
    import onnxruntime

    binding = session.io_binding()
    for value in session.get_inputs():
        held = onnxruntime.OrtValue.ortvalue_from_numpy(_numbers(value, batch), device, 0)
        binding.bind_ortvalue_input(value.name, held)
    for value in session.get_outputs():
        binding.bind_output(value.name, device, 0)
    for _ in range(2):
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
    runs, began = 0, time.perf_counter()
    while not runs or time.perf_counter() - began < seconds:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        runs += 1
    return runs * batch / (time.perf_counter() - began)


def _numbers(value: Any, batch: int) -> NDArray[Any]:
    """Return an input by its name and type: noise or pixels, labels as predicted, a scale of 1."""
    shape = (batch, *value.shape[1:])
    if value.name == "label":
        return np.full(shape, -1, np.int64)
    if value.name == "cotangent_scale":
        return np.ones(shape, np.float32)
    generator = np.random.default_rng(0)
    if value.type == "tensor(uint8)":
        return generator.integers(0, 256, shape, np.uint8)
    return generator.standard_normal(shape, np.float32)


def host_parts(bundle: str, listing: str, seconds: float) -> dict[str, float]:
    """Return microseconds per image of decoding and of normalising the photographs of `listing`, on one core."""
    from service.contract.bundle_schema import BUNDLE_FILE, Bundle
    from service.images.preprocess import decode, normalise

    spec = Bundle.model_validate_json((Path(bundle) / BUNDLE_FILE).read_text()).input
    photographs = [Path(file).read_bytes() for file, _ in json.loads(Path(listing).read_text())]
    spent = {"decode": 0.0, "normalise": 0.0}
    images, end = 0, time.perf_counter() + seconds
    while not images or time.perf_counter() < end:
        began = time.perf_counter()
        pixels = np.stack([decode(data, spec) for data in photographs])
        decoded = time.perf_counter()
        normalise(pixels, spec)
        spent["decode"] += decoded - began
        spent["normalise"] += time.perf_counter() - decoded
        images += len(photographs)
    return {part: 1e6 * used / images for part, used in spent.items()}
