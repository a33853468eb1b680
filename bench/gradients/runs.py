"""Runs of ONNX graphs on the best provider at hand, timed against each other.

On a GPU, inputs and outputs are bound to its memory, so that no run pays for copies.
"""

from __future__ import annotations

import collections
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnxruntime
import torch
from numpy.typing import NDArray

from service.contract.runtime.cuda import CUDA
from service.contract.runtime.provider import CPU

Feeds = Mapping[str, NDArray[Any]]
Run = Callable[[], Any]
Clock = Callable[[], float]
PROVIDERS = (CUDA, CPU)
"""The best first. The runtime's own order begins with TensorRT, which its wheels name and do not bring."""
ARITHMETIC = {"Conv", "FusedConv", "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "NhwcFusedConv"}
QUANTILE = 20
FEWEST = 3


def on_gpu() -> bool:
    """Return whether ONNX Runtime has a CUDA provider that loads."""
    if CUDA not in onnxruntime.get_available_providers():
        return False
    smallest = '<ir_version: 10, opset_import: ["": 18]> g (float[1] x) => (float[1] y) { y = Identity(x) }'
    return CUDA in session(onnx.parser.parse_model(smallest)).get_providers()


def torch_device() -> str:
    """Return where torch's rows run: on the GPU if ONNX Runtime's do, too."""
    return "cuda" if on_gpu() and torch.cuda.is_available() else "cpu"


def session(model: onnx.ModelProto, profile: Path | None = None) -> onnxruntime.InferenceSession:
    """Open a session of one thread on the best provider at hand; a profile is written to `profile`."""
    available = onnxruntime.get_available_providers()
    providers = [provider for provider in PROVIDERS if provider in available]
    return onnxruntime.InferenceSession(model.SerializeToString(), session_options(profile), providers=providers)


def session_options(profile: Path | None = None) -> onnxruntime.SessionOptions:
    """Return the options of a session of one thread; a profile is written to `profile`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return options


class Bound:
    """A graph whose inputs are on the device already: a call runs it, `outputs` returns what the last run gave."""

    def __init__(self, model: onnx.ModelProto, feeds: Feeds) -> None:
        self._session = session(model)
        device = "cuda" if self._session.get_providers()[0] == CUDA else "cpu"
        self._binding = self._session.io_binding()
        for value in self._session.get_inputs():
            held = onnxruntime.OrtValue.ortvalue_from_numpy(feeds[value.name], device, 0)
            self._binding.bind_ortvalue_input(value.name, held)
        self._names = [value.name for value in self._session.get_outputs()]
        for name in self._names:
            self._binding.bind_output(name, device, 0)

    def __call__(self) -> None:
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return the outputs by name, copied to the host."""
        return dict(zip(self._names, self._binding.copy_outputs_to_cpu(), strict=True))


@dataclass(frozen=True)
class Kernels:
    """Seconds of one run by kind of node, slowest first: (operator, number of nodes, seconds)."""

    kinds: tuple[tuple[str, int, float], ...]

    @property
    def total(self) -> float:
        return sum(seconds for _, _, seconds in self.kinds)

    @property
    def arithmetic(self) -> float:
        """Return the seconds of convolutions and matrix products."""
        return sum(seconds for operator, _, seconds in self.kinds if operator in ARITHMETIC)


def kernels(model: onnx.ModelProto, feeds: Feeds, repetitions: int) -> Kernels:
    """Read the 20th percentile of every node out of ONNX Runtime's own profile.

    A rectifier's mask is written as a convolution of ones but computes nothing, and is listed apart.
    """
    with tempfile.TemporaryDirectory() as folder:
        profiled = session(model, Path(folder) / "profile")
        for _ in range(repetitions):
            profiled.run(None, dict(feeds))
        events = json.loads(Path(profiled.end_profiling()).read_text())
    durations: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            operator, node = event["args"]["op_name"], event["name"]
            kind = "mask of a rectifier" if operator == "Conv" and "/gradient/HardSigmoid" in node else operator
            durations[kind, node].append(event["dur"] * 1e-6)
    kinds: dict[str, list[float]] = collections.defaultdict(list)
    for (kind, _), values in durations.items():
        kinds[kind].append(float(np.percentile(values, QUANTILE)))
    rows = ((kind, len(seconds), sum(seconds)) for kind, seconds in kinds.items())
    return Kernels(tuple(sorted(rows, key=lambda row: -row[2])))


def clock_of(device: str) -> Clock:
    """Return the processor time, which other work on the machine hardly changes; on a GPU the wall clock."""
    return time.perf_counter if device == "cuda" else time.process_time


def interleaved(runs: Mapping[str, Run], seconds: float, clock: Clock) -> dict[str, float]:
    """Run all in turn until `seconds` have passed, three times at least; return the 20th percentile of each, in s."""
    measured: dict[str, list[float]] = {name: [] for name in runs}
    end = time.monotonic() + seconds
    while time.monotonic() < end or any(len(values) < FEWEST for values in measured.values()):
        for name, run in runs.items():
            start = clock()
            run()
            measured[name].append(clock() - start)
    return {name: float(np.percentile(values, QUANTILE)) for name, values in measured.items()}
