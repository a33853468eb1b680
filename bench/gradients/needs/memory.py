"""The memory that a run takes beyond its libraries: measured in a process that has loaded nothing else.

The process is a copy of one that has imported the packages. It first does the same for a small network, so that
what a library sets up once does not count.
"""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import onnxruntime

from bench.gradients.rivals.rows import ROWS
from bench.gradients.subject import Subject
from service.contract.runtime.gpu.cuda import growing_arena

PRELOADED = ["bench.gradients.needs.preloaded"]
RUNS = 2
"""The second shows what the first has left allocated."""
SET_BACK = "5"
"""Written to `clear_refs`, it sets the peak back to the present size."""


def peak(row: str, rehearsal: Subject, subject: Subject) -> int:
    """Return by how many bytes a process grows at most as it opens and runs a row, on one thread; Linux alone.

    Raises:
        Exception: whatever the row raises.
        BrokenProcessPool: the process was killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_peak_here, row, rehearsal, subject).result()


def _peak_here(row: str, rehearsal: Subject, subject: Subject) -> int:
    _allocate_as_the_service_does()
    _run(row, rehearsal)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed but kept would be taken again unseen
    process = Path("/proc/self")
    (process / "clear_refs").write_text(SET_BACK)
    before = _status("VmRSS")
    _run(row, subject)
    return _status("VmHWM") - before


def _allocate_as_the_service_does() -> None:
    """Have ONNX Runtime's arena grow only by what is asked for."""
    arena, usual = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    memory = onnxruntime.OrtMemoryInfo("Cpu", arena, 0, usual)
    onnxruntime.create_and_register_allocator(memory, growing_arena())


def _run(row: str, subject: Subject) -> None:
    run = ROWS[row].open(subject)
    for _ in range(RUNS):
        run()


def _status(field: str) -> int:
    """Return a size of this process in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
