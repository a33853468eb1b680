"""The service reads a machine by its NVIDIA driver. The driver is a stand-in, built for each kind of machine."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from service.contract.runtime.gpu.driver import NoGpu, release_gpu, usable_gpu
from tests.service.contract.runtime.gpu.stand_ins import built, with_compiler


def stub_driver(folder: Path, **machine: int) -> str:
    """Build the driver of a machine; return the path of its library."""
    macros = [f"{name}={value}" for name, value in machine.items()]
    return str(built("stub_driver.c", folder / "libcuda.so.1", *macros))


@with_compiler
@pytest.mark.parametrize("version", [13000, 13020, 14000])
def test_a_gpu_is_called_by_its_name(tmp_path: Path, version: int) -> None:
    driver = stub_driver(tmp_path, GPUS=2, VERSION=version)
    assert [usable_gpu(number, "13.0", driver) for number in range(2)] == ["NVIDIA Stub 0", "NVIDIA Stub 1"]


@with_compiler
@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({"INIT": 100}, "the NVIDIA driver finds no GPU"),
        ({"INIT": 34}, "libcuda.so.1 is the stub that programs are linked with, and no driver"),
        ({"INIT": 999}, "the NVIDIA driver does not start: CUDA_ERROR_UNKNOWN"),
        ({"INIT": 998}, "the NVIDIA driver does not start: error 998"),
        ({"GPUS": 0}, "this machine has no GPU"),
        ({"GPUS": 1}, "this machine has 1 GPU"),
        ({"GPUS": 3}, "this machine has 3 GPUs"),
        (
            {"VERSION": 12040},
            "the NVIDIA driver is too old: it runs CUDA 12.4 at most, and this onnxruntime needs CUDA 13, which driver "
            "580 brings",
        ),
        (
            {"GPUS": 4, "RETAIN": 46},
            "GPU 3 (NVIDIA Stub 3) is busy: its compute mode is exclusive and another process has it, or it is "
            "prohibited",
        ),
        ({"GPUS": 4, "RETAIN": 2}, "GPU 3 (NVIDIA Stub 3) has no memory left for another process"),
        ({"GPUS": 4, "RETAIN": 999}, "GPU 3 (NVIDIA Stub 3) cannot be used: CUDA_ERROR_UNKNOWN"),
    ],
)
def test_what_is_missing_is_said(
    tmp_path: Path, machine: dict[str, int], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    driver = stub_driver(tmp_path, **machine)
    with pytest.raises(NoGpu) as refusal:
        usable_gpu(3, "13.0", driver)
    assert str(refusal.value) == said


@with_compiler
def test_a_gpu_that_is_not_used_after_all_is_given_back(tmp_path: Path) -> None:
    driver = stub_driver(tmp_path, GPUS=2)
    usable_gpu(1, "13.0", driver)
    assert ctypes.CDLL(driver).stub_contexts() == 1
    release_gpu(1, driver)
    assert ctypes.CDLL(driver).stub_contexts() == 0


@with_compiler
def test_gpus_that_the_environment_hides_are_hinted_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    with pytest.raises(NoGpu, match=r"^this machine has 1 GPU \(CUDA_VISIBLE_DEVICES is '1'\)$"):
        usable_gpu(1, "13.0", stub_driver(tmp_path))


def test_no_driver_is_told_from_one_that_does_not_load(tmp_path: Path) -> None:
    with pytest.raises(NoGpu, match=r"^there is no NVIDIA driver \(libcuda.so.1\)$"):
        usable_gpu(0, "13.0", str(tmp_path / "libcuda.so.1"))
    (tmp_path / "libcuda.so.1").write_text("no library")
    with pytest.raises(NoGpu, match=r"^the NVIDIA driver does not load: .*libcuda.so.1"):
        usable_gpu(0, "13.0", str(tmp_path / "libcuda.so.1"))
