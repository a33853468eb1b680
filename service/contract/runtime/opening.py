"""The sessions of a process: all on one execution provider, with one thread each, from one arena."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort

from service.contract.bundle_schema import WEIGHTS_FILE
from service.contract.runtime.bound import BoundSession
from service.contract.runtime.device import Device
from service.contract.runtime.provider import CPU, ProviderUnavailable, choose_provider
from service.contract.runtime.session import Session
from service.output.true_places import true_place


class Runtime:
    """Opens sessions on one execution provider, which is chosen once and never changed silently."""

    def __init__(self, wanted: Literal["auto", "cpu", "cuda"], *, bound: bool = False) -> None:
        """Choose the provider; raise `ProviderUnavailable` if `wanted` is cuda and CUDA does not work here.

        Args:
            wanted: the setting `execution_provider`.
            bound: bind inputs and outputs on a CPU too, as on a GPU, which only tests need.
        """
        _share_memory_between_sessions()
        self.provider, self.reason = choose_provider(wanted)
        self.device: Device | None = None
        if bound or self.provider != CPU:
            self.device = Device("cpu" if self.provider == CPU else "cuda", 0, self._inference_session)

    def open(self, graph: Path) -> Session:
        """Open the graph in one file, with the bundle's weights, which lie in the same folder.

        Raises:
            ProviderUnavailable: the runtime silently chose another provider than `self.provider`.
            Exception: whatever the runtime raises for a file it cannot load.
        """
        options, weights = _session_options(), graph.with_name(WEIGHTS_FILE)
        content = b""
        if true_place(graph.parent) is None and weights.exists():
            # The runtime follows the text of links, and refuses weights whose place it does not find. It takes their
            # content instead, which must stay until the session is there; each session then has its own copy.
            content = weights.read_bytes()
            options.add_external_initializers_from_files_in_memory([weights.name], [content], [len(content)])
        session = self._session(str(graph), options)
        if session.provider != self.provider:
            raise ProviderUnavailable(f"{graph.name} was loaded on {session.provider} instead of {self.provider}")
        return session

    def _session(self, graph: str, options: ort.SessionOptions) -> Session:
        if self.device is None:
            return Session(self._inference_session(graph, options))
        with self.device.turns.shared():
            return BoundSession(self._inference_session(graph, options), self.device)

    def _inference_session(self, graph: str | bytes, options: ort.SessionOptions | None = None) -> Any:
        return ort.InferenceSession(graph, options or _session_options(), providers=self._providers())

    def _providers(self) -> Sequence[str]:
        return [self.provider] if self.provider == CPU else [self.provider, CPU]


@cache
def _share_memory_between_sessions() -> None:
    """Have all sessions of the process allocate from one arena, which grows only by what is asked for.

    By default each session has its own. Fourteen sessions of two 20-layer nets, each run at batch 8, take 214 MB of
    resident memory this way instead of 488 MB.
    """
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    grow_as_requested = {"max_mem": 0, "arena_extend_strategy": 1}
    unset = {"initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({**grow_as_requested, **unset}))


def _session_options() -> ort.SessionOptions:
    """Return options for runs of one thread each, which does not spin.

    Under load, several one-thread runs side by side finish more images than one run on several threads, and a thread
    that spins while it waits takes a core from the others.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options
