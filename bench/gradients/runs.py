"""Runs of ONNX graphs, timed against each other.

Inputs and outputs are bound to the device's memory, so that no run on a GPU pays for copies.
"""

from __future__ import annotations

import collections
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from service.contract.runtime.provider import CPU

Feeds = Mapping[str, NDArray[Any]]
Run = Callable[[], Any]
Clock = Callable[[], float]
ARITHMETIC = {"Conv", "FusedConv", "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "NhwcFusedConv"}
QUANTILE = 20
FEWEST = 3


def session(model: onnx.ModelProto | Path, profile: Path | None = None) -> onnxruntime.InferenceSession:
    """Open a session of one thread on the CPU, of a graph or its file; a profile is written to `profile`."""
    graph = str(model) if isinstance(model, Path) else model.SerializeToString()
    options = session_options(profile)
    options.add_session_config_entry("session.use_env_allocators", "1")  # of which there may be none
    return onnxruntime.InferenceSession(graph, options, providers=[CPU])


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
    """A session whose inputs are on the device already: a call runs it and waits for its end."""

    def __init__(self, session: onnxruntime.InferenceSession, feeds: Feeds, device: str) -> None:
        """Bind copies of `feeds`, and have the outputs stay on the device."""
        self._session, self._device = session, device
        self._options = onnxruntime.RunOptions()
        self._binding = session.io_binding()
        for value in session.get_inputs():
            held = onnxruntime.OrtValue.ortvalue_from_numpy(feeds[value.name], device, 0)
            self._binding.bind_ortvalue_input(value.name, held)
        self.names = [value.name for value in session.get_outputs()]
        for name in self.names:
            self._binding.bind_output(name, device, 0)

    def __call__(self) -> None:
        self._session.run_with_iobinding(self._binding, self._options)
        self._binding.synchronize_outputs()

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return the outputs of the last call by name, copied to the host; before the first there are none."""
        return dict(zip(self.names, self._binding.copy_outputs_to_cpu(), strict=True))


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


def profiled(
    opening: Callable[[Path], onnxruntime.InferenceSession], feeds: Feeds, repetitions: int = 1
) -> list[dict[str, Any]]:
    """Return the event of every kernel that ran, as ONNX Runtime's own profile tells it.

    Args:
        opening: opens a session that writes its profile to the given path.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = opening(Path(folder) / "profile")
        for _ in range(repetitions):
            session.run(None, dict(feeds))
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return [event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")]


def kernels(model: onnx.ModelProto | Path, feeds: Feeds, repetitions: int) -> Kernels:
    """Return the 20th percentile of every node.

    A rectifier's mask is written as a convolution of ones but computes nothing, and is listed apart.
    """
    durations: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    for event in profiled(partial(session, model), feeds, repetitions):
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


def interleaved(runs: Mapping[str, Run], seconds: float, clock: Clock, fewest: int = FEWEST) -> dict[str, float]:
    """Run all in turn until `seconds` have passed, `fewest` times at least; return each one's 20th percentile, in s."""
    measured: dict[str, list[float]] = {name: [] for name in runs}
    end = time.monotonic() + seconds
    while time.monotonic() < end or any(len(values) < fewest for values in measured.values()):
        for name, run in runs.items():
            start = clock()
            run()
            measured[name].append(clock() - start)
    return {name: float(np.percentile(values, QUANTILE)) for name, values in measured.items()}
