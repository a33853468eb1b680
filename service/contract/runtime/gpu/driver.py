"""The GPUs that NVIDIA's driver finds here, asked through its C interface before ONNX Runtime loads CUDA.

The functions, their arguments and the numbers of their errors are those of the CUDA Driver API (cuda.h).
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

LIBRARY: Final = "libcuda.so.1"

FIRST_DRIVERS: Final = {12: 525, 13: 580}
"""Major version of CUDA → the first branch of the driver that runs it on Linux (CUDA's release notes, table 3)."""

OUT_OF_MEMORY, DEVICE_UNAVAILABLE, NO_DEVICE = 2, 46, 100

REASONS: Final = {
    34: "libcuda.so.1 is the stub that programs are linked with, and no driver",
    NO_DEVICE: "the NVIDIA driver finds no GPU",
    802: "the GPUs are not ready yet: NVIDIA's fabric manager has not started",
    803: "the NVIDIA driver's library and its kernel module are of different versions",
    804: "the package of CUDA's forward compatibility is installed, which this GPU does not support",
}
"""Errors of `cuInit` → what is wrong, in words."""


class NoGpu(Exception):
    """No GPU can be used; the message says what is missing."""


def usable_gpu(number: int, cuda: str, library: str = LIBRARY) -> str:
    """Return the name of a GPU, e.g. "NVIDIA H100 80GB HBM3", after making sure that this process may use it.

    Args:
        number: which of the GPUs that CUDA shows to this process, from 0.
        cuda: version of CUDA that will run on it, e.g. "13.0". Any driver for the same major version runs it.
        library: the driver's library, as the loader finds it.

    Raises:
        NoGpu: there is no driver, it is too old, it has no such GPU, or the GPU takes no process more.
    """
    driver = _loaded(library)
    code = driver.cuInit(0)
    if code:
        raise NoGpu(REASONS.get(code) or f"the NVIDIA driver does not start: {_named(driver, code)}")
    _check_version(driver, cuda)
    count = _number(driver, "cuDeviceGetCount")
    if number >= count:
        raise NoGpu(f"this machine has {_gpus(count)}{_chosen_by_the_environment()}")
    device = _number(driver, "cuDeviceGet", number)
    name = ctypes.create_string_buffer(256)
    _ask(driver, "cuDeviceGetName", name, len(name) - 1, device)
    card = name.value.decode(errors="replace")
    _check_free(driver, device, f"GPU {number} ({card})")
    return card


def release_gpu(number: int, library: str = LIBRARY) -> None:
    """Give back a GPU that `usable_gpu` found and that is not used after all: its context takes memory."""
    driver = _loaded(library)
    # A failure is not raised: it would hide why the GPU is not used.
    driver.cuDevicePrimaryCtxRelease_v2(_number(driver, "cuDeviceGet", number))


def _loaded(library: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(library)
    except OSError as error:
        if "cannot open shared object file" in str(error):
            raise NoGpu(f"there is no NVIDIA driver ({LIBRARY})") from None
        raise NoGpu(f"the NVIDIA driver does not load: {error}") from None


def _check_version(driver: ctypes.CDLL, cuda: str) -> None:
    """Raise `NoGpu` if the driver is too old; it gives its version as 1000 × major + 10 × minor."""
    newest, needed = _number(driver, "cuDriverGetVersion"), int(cuda.partition(".")[0])
    if newest < 1000 * needed:
        branch = f", which driver {FIRST_DRIVERS[needed]} brings" if needed in FIRST_DRIVERS else ""
        raise NoGpu(
            f"the NVIDIA driver is too old: it runs CUDA {newest // 1000}.{newest % 1000 // 10} at most, and this "
            f"onnxruntime needs CUDA {needed}{branch}"
        )


def _check_free(driver: ctypes.CDLL, device: int, called: str) -> None:
    """Raise `NoGpu` if the GPU takes no process more.

    It takes one by making its context. The context is kept until `release_gpu`: CUDA's runtime uses the same one, the
    GPU's primary.
    """
    context = ctypes.c_void_p()
    code = driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    if code == DEVICE_UNAVAILABLE:
        raise NoGpu(f"{called} is busy: its compute mode is exclusive and another process has it, or it is prohibited")
    if code == OUT_OF_MEMORY:
        raise NoGpu(f"{called} has no memory left for another process")
    if code:
        raise NoGpu(f"{called} cannot be used: {_named(driver, code)}")


def _number(driver: ctypes.CDLL, function: str, *arguments: int) -> int:
    """Call a function that writes one int to its first argument; return that."""
    value = ctypes.c_int()
    _ask(driver, function, ctypes.byref(value), *arguments)
    return value.value


def _ask(driver: ctypes.CDLL, function: str, *arguments: object) -> None:
    code = getattr(driver, function)(*arguments)
    if code:
        raise NoGpu(f"the NVIDIA driver fails: {function} answers {_named(driver, code)}")


def _named(driver: ctypes.CDLL, code: int) -> str:
    """Return the name of an error, e.g. "CUDA_ERROR_UNKNOWN"; its number where the driver has no name for it."""
    name = ctypes.c_char_p()
    driver.cuGetErrorName(code, ctypes.byref(name))
    return name.value.decode(errors="replace") if name.value else f"error {code}"


def _gpus(count: int) -> str:
    return "no GPU" if count == 0 else "1 GPU" if count == 1 else f"{count} GPUs"


def _chosen_by_the_environment() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f" (CUDA_VISIBLE_DEVICES is {visible!r})"
