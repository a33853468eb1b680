"""The sessions of a process: all on one execution provider, from one arena, with one thread unless they are widened."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

from service.contract.arrays import Array
from service.contract.bundle_schema import WEIGHTS_FILE
from service.contract.runtime.gpu.bound import BoundSession
from service.contract.runtime.gpu.cuda import CUDA, growing_arena, provider_options
from service.contract.runtime.gpu.device import Device
from service.contract.runtime.gpu.placement import said_of_placement
from service.contract.runtime.provider import CPU, ProviderUnavailable, choose_provider
from service.contract.runtime.session import Session
from service.contract.runtime.widened import (
    as_written,
    copied,
    no_temporary_files,
    on_threads,
    place_for_graph,
    room_for,
    writing,
)
from service.output.true_places import true_place

log = logging.getLogger("contraflow.bundles")

MOST_THREADS: Final = 16
"""Most threads of a run. One image has too little work for more, and each widened session has its own."""


class Runtime:
    """Opens sessions on one execution provider, which is chosen once and never changed silently."""

    def __init__(
        self,
        wanted: str,
        gpu_memory_limit: int | None = None,
        *,
        most_threads: int = 1,
        memory_left: Callable[[], int | None] = lambda: None,
        bound: bool = False,
    ) -> None:
        """Choose the provider.

        Args:
            wanted: auto, cpu, cuda, or cuda:N.
            gpu_memory_limit: bytes of the GPU that the sessions may take; None is no limit.
            most_threads: of a run on the CPU, if its session is widened.
            memory_left: returns the bytes that the process may still take, or None without a limit.
            bound: bind inputs and outputs on the CPU as on a GPU, which only tests need.

        Raises:
            ValueError: `wanted` is none of those.
            ProviderUnavailable: a GPU is asked for, and cannot be used.
        """
        _share_memory_between_sessions()
        self.chosen = choose_provider(wanted, gpu_memory_limit)
        self.provider, self.reason = self.chosen.name, self.chosen.reason
        self._gpu_memory_limit = gpu_memory_limit
        self._most_threads, self._memory_left = min(most_threads, MOST_THREADS), memory_left
        # A session's threads inherit the priority of the thread that opens it, and the loader's gives way to others.
        self._undelayed = ThreadPoolExecutor(1, "open")
        self._undelayed.submit(int).result()  # started now, and always: one run more is to bring one thread more
        self.device: Device | None = None
        if self.chosen.gpu is not None:
            self.device = Device("cuda", self.chosen.gpu, self._inference_session)
        elif bound:
            self.device = Device("cpu", 0, self._inference_session)

    @property
    def cuda_graphs(self) -> bool:
        """True if sessions may record CUDA graphs: on a GPU without a limit of memory, for they need their own."""
        return self.device is not None and self._gpu_memory_limit is None

    def open(self, graph: Path, weights: Mapping[str, Array] | None = None) -> Session:
        """Open the graph in one file, with the bundle's weights, which lie in the same folder.

        Args:
            weights: name of a tensor that is stored there → what is taken in its place, of its shape and dtype. It
                must be contiguous, and stay as it is while the session is there. Such a session has no recordings,
                and is not widened.

        Raises:
            ProviderUnavailable: the runtime silently chose another provider than `self.provider`.
            Exception: whatever the runtime raises for a file it cannot load.
        """
        if self.device is None:
            opened = self._opened(graph, weights=weights)
            if self._most_threads == 1 or weights is not None:
                return Session(opened)
            return Session(opened, partial(self._widened, staged=_is_staged(opened)), self._most_threads)
        with self.device.turns.shared():
            opened = self._opened(graph, weights=weights)
        called = f"{graph.parent.name}/{graph.name}"
        if self.provider == CUDA:
            log.info("%s: %s", called, said_of_placement(opened))
        records = self.cuda_graphs and weights is None
        open_recording = partial(self._opened, graph, records=True) if records else None
        return BoundSession(opened, self.device, open_recording, called)

    def _widened(self, graph: Path, staged: bool = False) -> tuple[Any, Any] | None:
        """Open a graph for runs of one thread and of `most_threads`; None for the first: as it is opened already.

        Where memory is short, say so and return None. The optimised form of a graph in stages is not written to a file:
        the runtime gives tensors of several branches one name, and then refuses to read that.
        """
        weights = graph.with_name(WEIGHTS_FILE)
        needed = room_for(weights.stat().st_size if weights.exists() else 0)
        if (left := self._memory_left()) is not None and left < needed:
            short = f"it may take {needed / 1e6:.0f} MB more, and {left / 1e6:.0f} are left"
            log.warning("%s/%s stays on one thread: %s", graph.parent.name, graph.name, short)
            return None
        if why := "it has branches" if staged else no_temporary_files(needed):
            log.info("%s/%s holds its weights for each number of threads: %s", graph.parent.name, graph.name, why)
            options = on_threads(self._session_options(), self._most_threads)
            return None, self._undelayed.submit(self._opened, graph, options=options).result()
        with place_for_graph(graph.name) as optimised:
            self._opened(graph, options=writing(self._session_options(), optimised))
            one, several = (
                self._undelayed.submit(
                    self._inference_session, str(optimised), as_written(self._session_options(), threads)
                ).result()
                for threads in (1, self._most_threads)
            )
        return one, several

    def _opened(
        self,
        graph: Path,
        records: bool = False,
        options: ort.SessionOptions | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> Any:
        """Open a session; one that `records` has memory of its own, and its runs may be recorded as CUDA graphs."""
        options, file = options or self._session_options(records), graph.with_name(WEIGHTS_FILE)
        content = b""
        if true_place(graph.parent) is None and file.exists():
            # The runtime follows the text of links, and refuses weights whose place it does not find. It takes their
            # content instead, which must stay until the session is there; each session then has its own copy.
            content = file.read_bytes()
            options.add_external_initializers_from_files_in_memory([file.name], [content], [len(content)])
        if weights:
            values = [ort.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
            options.add_external_initializers(list(weights), values)
        try:
            session = self._inference_session(str(graph), options, records)
        except Exception as error:
            # Of the weights in the branches of a graph it takes neither their content nor a link.
            if not (content or file.is_symlink()):
                raise
            try:
                with copied(graph, file) as copy:
                    session = self._inference_session(str(copy), options, records)
            except OSError:  # there is no room for a copy
                raise error from None
        if (provider := session.get_providers()[0]) != self.provider:
            raise ProviderUnavailable(f"{graph.name} was loaded on {provider} instead of {self.provider}")
        return session

    def _inference_session(
        self, graph: str | bytes, options: ort.SessionOptions | None = None, records: bool = False
    ) -> Any:
        options = options or self._session_options(records)
        # Its Python class would open a session on the CPU in place of one that fails on the GPU, at a later run too.
        return ort.InferenceSession(graph, options, providers=self._providers(records), enable_fallback=0)

    def _providers(self, records: bool) -> Sequence[str | tuple[str, dict[str, str]]]:
        if self.chosen.gpu is None:
            return [CPU]
        return [(CUDA, provider_options(self.chosen.gpu, self._gpu_memory_limit, cuda_graph=records)), CPU]

    def _session_options(self, records: bool = False) -> ort.SessionOptions:
        options = _one_thread()
        if self.chosen.gpu is not None:
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        # A CUDA graph is played on the addresses of its recording. In a shared arena other sessions get them meanwhile.
        options.add_session_config_entry("session.use_env_allocators", "0" if records else "1")
        return options


@cache
def _share_memory_between_sessions() -> None:
    """Have all sessions of the process allocate from one arena, which grows only by what is asked for.

    By default each session has its own. Fourteen sessions of two 20-layer nets, each run at batch 8, take 214 MB of
    resident memory this way instead of 488 MB.
    """
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, growing_arena())


def _is_staged(session: ort.InferenceSession) -> bool:
    """Tell whether a run of the graph chooses by its input `layer` what is computed."""
    return any(tensor.name == "layer" for tensor in session.get_inputs())


def _one_thread() -> ort.SessionOptions:
    """Return options for runs of one thread each, which does not spin; nor do several, where a session is widened.

    Under load, several one-thread runs side by side finish more images than one run on several threads, and a thread
    that spins while it waits takes a core from the others.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options
