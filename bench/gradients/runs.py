"""Running ONNX graphs on the best provider at hand, and timing runs against each other.

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
import onnx
import onnxruntime
from numpy.typing import NDArray

Array = NDArray[Any]
Run = Callable[[], Any]
CUDA = "CUDAExecutionProvider"
ARITHMETIC = {"Conv", "FusedConv", "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "NhwcFusedConv"}
QUANTILE = 20
FEWEST = 3


def on_gpu() -> bool:
    """Whether ONNX Runtime has a CUDA provider that loads."""
    return CUDA in onnxruntime.get_available_providers() and CUDA in session(_nothing()).get_providers()


def session(model: onnx.ModelProto, profile: Path | None = None) -> onnxruntime.InferenceSession:
    """One thread, on the best provider at hand; with a profile written to `profile`."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    providers = onnxruntime.get_available_providers()
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)


class Bound:
    """A graph with its inputs already on the device: called, it runs; `outputs` are those of the last run."""

    def __init__(self, model: onnx.ModelProto, feeds: Mapping[str, Array]) -> None:
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

    def outputs(self) -> dict[str, Array]:
        """Name → array, copied to the host."""
        return dict(zip(self._names, self._binding.copy_outputs_to_cpu(), strict=True))


@dataclass(frozen=True)
class Kernels:
    """Seconds of one run by kind of node: (operator, number of nodes, seconds), slowest first."""

    kinds: tuple[tuple[str, int, float], ...]

    @property
    def total(self) -> float:
        return sum(seconds for _, _, seconds in self.kinds)

    @property
    def arithmetic(self) -> float:
        """Convolutions and matrix products alone."""
        return sum(seconds for operator, _, seconds in self.kinds if operator in ARITHMETIC)


def kernels(model: onnx.ModelProto, feeds: Mapping[str, Array], repetitions: int) -> Kernels:
    """Out of ONNX Runtime's own profile, the 20th percentile of every node.

    A rectifier's mask, written as a convolution of ones, is a copy and is listed as one.
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


def interleaved(runs: Mapping[str, Run], seconds: float) -> dict[str, float]:
    """Seconds of each run (20th percentile), all taken in turn until `seconds` have passed, three times at least.

    Of processor time, which other work on the machine hardly changes; on a GPU of the wall clock.
    """
    clock = time.perf_counter if on_gpu() else time.process_time
    measured: dict[str, list[float]] = {name: [] for name in runs}
    end = time.monotonic() + seconds
    while time.monotonic() < end or any(len(values) < FEWEST for values in measured.values()):
        for name, run in runs.items():
            start = clock()
            run()
            measured[name].append(clock() - start)
    return {name: float(np.percentile(values, QUANTILE)) for name, values in measured.items()}


def _nothing() -> onnx.ModelProto:
    """The smallest model there is, to see which provider takes it."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    result = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "nothing", [value], [result])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
