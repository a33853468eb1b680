"""Sessions of ONNX Runtime on the card with chosen options, and runs between fixed places in its memory."""

from __future__ import annotations

import collections
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch  # noqa: F401 (before a session is opened: the runtime finds the CUDA libraries that torch loaded)

from bench.gradients.runs import Bound, Feeds, profiled, session_options
from service.contract.runtime.gpu.cuda import CUDA, provider_options
from service.contract.runtime.provider import CPU

Options = Mapping[str, str]
PLAIN: Options = provider_options(0, None, cuda_graph=False)
"""The service's options of the CUDA provider, from which every measurement starts."""
NO_CAPTURE = -1
"""Number of a run that no CUDA graph is captured of."""
RUNS_UNTIL_REPLAY = 3
"""Runs until a CUDA graph replays: two that allocate, one that is captured."""


@cache
def load_libraries() -> None:
    """Load CUDA and cuDNN from packages of theirs, where there are such."""
    onnxruntime.set_default_logger_severity(3)  # each session would warn that CUDA is built in, and no plugin
    onnxruntime.preload_dlls()


def opened(
    model: onnx.ModelProto, device: str, changes: Options | None = None, profile: Path | None = None
) -> onnxruntime.InferenceSession:
    """Open a session on `device`, with `changes` to the plain options of the CUDA provider.

    Raises:
        RuntimeError: the runtime chose the CPU instead of the card.
    """
    options = session_options(profile)
    providers: list[Any] = [CPU]
    if device == "cuda":
        load_libraries()
        providers.insert(0, (CUDA, {**PLAIN, **(changes or {})}))
    # Without fallback, options that the card refuses are an error and not another session.
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=providers, enable_fallback=False
    )
    if device == "cuda" and session.get_providers()[0] != CUDA:
        raise RuntimeError(f"the runtime opened the session on {session.get_providers()[0]}")
    return session


def default_options(model: onnx.ModelProto, device: str) -> dict[str, str]:
    """Return the options of the device's provider as they are where none is given."""
    if device == "cuda":
        load_libraries()
    provider = CUDA if device == "cuda" else CPU
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=[provider], enable_fallback=False)
    return {name: str(value) for name, value in session.get_provider_options()[provider].items()}


class Fixed(Bound):
    """A session's run between places of the device's memory that stay the same, as a CUDA graph wants them."""

    def __init__(
        self, session: onnxruntime.InferenceSession, feeds: Feeds, device: str, cuda_graph: int | None = None
    ) -> None:
        """Bind copies of `feeds` and run once, which tells the outputs' shapes; the outputs then stay in their places.

        With `cuda_graph`, a number that no other run of the session has, the runs that follow replay one CUDA graph.
        """
        super().__init__(session, feeds, device)
        if cuda_graph is not None:
            self._annotate(NO_CAPTURE)
        self()
        self._hold_outputs()
        if cuda_graph is not None:
            self._annotate(cuda_graph)
            for _ in range(RUNS_UNTIL_REPLAY):
                self()

    def _hold_outputs(self) -> None:
        shapes = [value.shape() for value in self._binding.get_outputs()]
        for name, shape in zip(self.names, shapes, strict=True):
            held = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, self._device, 0)
            self._binding.bind_ortvalue_output(name, held)

    def _annotate(self, number: int) -> None:
        self._options = onnxruntime.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(number))


def placement(model: onnx.ModelProto, feeds: Feeds, device: str) -> dict[str, Any]:
    """Return how many nodes ran on each provider, which of them on the CPU, and how many copied between the two.

    The runtime's profile of one run tells it.
    """
    ran = [event["args"] for event in profiled(lambda file: opened(model, device, profile=file), feeds)]
    nodes = collections.Counter(str(node.get("provider", "unknown")) for node in ran)
    off = collections.Counter(str(node["op_name"]) for node in ran if node.get("provider") == CPU)
    return {
        "nodes": dict(nodes),
        "on_cpu": dict(off) if device == "cuda" else {},
        "copies": sum(str(node["op_name"]).startswith("Memcpy") for node in ran),
    }
