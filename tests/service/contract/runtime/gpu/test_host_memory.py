"""Buffers of the host: how many there are, and where their memory is from. The CUDA runtime is a stand-in."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from service.contract.runtime.gpu.host_memory import SMALLEST, HostBuffers, cuda_runtime
from tests.service.contract.runtime.gpu.stand_ins import built, with_compiler


def stub_runtime(folder: Path, *macros: str) -> ctypes.CDLL:
    """Build a CUDA runtime, and find it as that of this process is found."""
    library = built("stub_runtime.c", folder / "libcudart.so.13", *macros)
    maps = folder / "maps"
    maps.write_text(
        f"7f00-7f10 r--p 00000000 08:01 42 /usr/lib/libc.so.6\n7f20-7f30 r-xp 0 08:01 43   {library}\n7f40\n"
    )
    found = cuda_runtime(maps)
    assert found is not None
    return found


@pytest.mark.parametrize("runtime", [None, pytest.param("stub", marks=with_compiler)])
def test_there_are_no_more_buffers_than_runs_at_the_same_time_whatever_the_sizes(
    runtime: str | None, tmp_path: Path
) -> None:
    buffers = HostBuffers(0, stub_runtime(tmp_path) if runtime else None)
    for size in (1, 3 * SMALLEST, 5, 2 * SMALLEST, 3 * SMALLEST):
        with buffers.borrow(size) as first, buffers.borrow(7) as second:
            assert (len(first), len(second)) == (size, 7)
            assert not np.shares_memory(first, second)
            first[:], second[:] = 1, 2
            assert first.sum() == size
    assert buffers.made == 2


@with_compiler
def test_memory_is_page_locked_on_its_device_and_given_back_when_more_is_needed(tmp_path: Path) -> None:
    runtime = stub_runtime(tmp_path)
    buffers = HostBuffers(3, runtime)
    for size in (1, SMALLEST + 1, 10 * SMALLEST, 2):
        with buffers.borrow(size) as buffer:
            buffer[:] = 1
        assert (runtime.stub_device(), runtime.stub_granted()) == (3, 1)


@with_compiler
def test_page_locked_memory_is_freed_with_its_last_reader(tmp_path: Path) -> None:
    runtime = stub_runtime(tmp_path)
    buffers = HostBuffers(0, runtime)
    with buffers.borrow(5) as buffer:
        buffer[:] = 7
    del buffers
    assert runtime.stub_granted() == 1
    assert buffer.tolist() == [7] * 5
    del buffer
    assert runtime.stub_granted() == 0


@with_compiler
def test_ordinary_memory_serves_where_cuda_grants_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runtime = stub_runtime(tmp_path, f"MOST={2 * SMALLEST}")
    buffers = HostBuffers(0, runtime)
    for size, granted in ((SMALLEST, 1), (4 * SMALLEST, 0), (SMALLEST, 0)):
        with buffers.borrow(size) as buffer:
            buffer[:] = 1
            assert buffer.sum() == size
        assert (runtime.stub_granted(), runtime.stub_last()) == (granted, 0)
    assert f"CUDA grants no {4 * SMALLEST} bytes of page-locked memory (error 2)" in caplog.text


def test_a_process_without_the_cuda_runtime_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "maps").write_text("7f00-7f10 r--p 00000000 08:01 42 /usr/lib/libc.so.6\n")
    assert cuda_runtime(tmp_path / "maps") is None
    assert "no page-locked memory, because the CUDA runtime is not found" in caplog.text
