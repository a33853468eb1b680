"""Why loading or running failed, by what ONNX Runtime says."""

from __future__ import annotations

import errno

import pytest

from service.contract.runtime.runs import passing_reason, shortage

HOST, GPU = "there is not enough memory", "there is not enough memory on the GPU"

ARENA = "bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) "


@pytest.mark.parametrize(
    ("said", "on_the_cpu", "on_a_gpu"),
    [
        ("std::bad_alloc", HOST, HOST),
        (ARENA + "Failed to allocate memory for requested buffer of size 147456", HOST, GPU),
        (ARENA + "Available memory of 10240 is smaller than requested bytes of 147456", HOST, GPU),
        ("CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; file=cuda_allocator.cc", GPU, GPU),
        ("CUDA error cudaErrorMemoryAllocation:out of memory", GPU, GPU),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0", GPU, GPU),
        ("CUDNN failure 4002: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0", GPU, GPU),
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0", None, None),
        ("CUDA failure 209: no kernel image is available for execution on the device", None, None),
        ("Load model from x.onnx failed: Protobuf parsing failed.", None, None),
        ("open file weights.bin fail, errcode = 24, system error number 24", "Too many open files", None),
    ],
)
def test_a_shortage_may_pass_and_a_wrong_graph_stays_wrong(
    said: str, on_the_cpu: str | None, on_a_gpu: str | None
) -> None:
    assert passing_reason(RuntimeError(said)) == on_the_cpu
    assert shortage(RuntimeError(said)) == (on_the_cpu if on_the_cpu in (HOST, GPU) else None)
    assert passing_reason(RuntimeError(said), on_a_gpu=True) == (on_a_gpu or on_the_cpu)


def test_the_systems_own_errors_are_in_words() -> None:
    assert passing_reason(MemoryError()) == HOST
    assert passing_reason(MemoryError(), on_a_gpu=True) == HOST
    assert passing_reason(OSError(errno.EIO, "Input/output error")) == "Input/output error"
