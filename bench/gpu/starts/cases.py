"""Each way to ask for a provider, with and without a usable card."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.gpu.part import Row
from bench.gpu.starts.trial import Trial, tried
from service.contract.runtime.gpu.cuda import CUDA
from service.contract.runtime.provider import CPU

DRIVER = "libcuda.so.1"
NO_SUCH_DEVICE = "cuda:7"

Expected = Literal["on the card", "on the CPU, as asked for", "on the CPU, with a warning", "refused, with the reason"]


@dataclass(frozen=True)
class Case:
    """A start: the provider that is asked for, the environment, what is expected."""

    provider: str
    expected: Expected
    environment: Mapping[str, str] = field(default_factory=dict)
    described: str = ""
    """The environment in words."""

    @property
    def key(self) -> str:
        return f"{self.provider}, {self.described}" if self.described else self.provider

    def row(self, bundles: Path) -> Row:
        """Start the service, and return what was found."""
        flags = ("--execution-provider", self.provider)
        with tried(bundles, flags, self.environment) as trial:
            return {
                "command": f"python -m service {' '.join(flags)}",
                "environment": self.described,
                "found": trial.found(),
                "expected": self.expected,
                "kept": is_as(self.expected, trial, self.provider),
            }


def is_as(expected: Expected, trial: Trial, provider: str) -> bool:
    """Return whether a start is as expected, and nothing was said as a traceback."""
    if trial.has_traceback:
        return False
    if expected == "refused, with the reason":
        return bool(trial.status) and any(provider in line for line in trial.lines)
    if not trial.ready:
        return False
    named, reason = trial.models()
    status, body = trial.predict()
    where = CUDA if expected == "on the card" else CPU
    warned = any("WARNING" in line and "execution provider" in line and where in line for line in trial.lines)
    told = warned == (expected == "on the CPU, with a warning") and bool(reason)
    return told and named == where and status == 200 and body["execution_provider"] == where


def cases(has_card: bool, scratch: Path) -> Iterator[Case]:
    """Yield the cases; `scratch` gets what hides the driver."""
    yield Case("auto", "on the card" if has_card else "on the CPU, with a warning")
    yield Case("cuda", "on the card" if has_card else "refused, with the reason")
    yield Case("cuda:0", "on the card" if has_card else "refused, with the reason")
    yield Case(NO_SUCH_DEVICE, "refused, with the reason")
    yield Case("cpu", "on the CPU, as asked for")
    for environment, described in (({"CUDA_VISIBLE_DEVICES": ""}, 'CUDA_VISIBLE_DEVICES=""'), _without_driver(scratch)):
        yield Case("auto", "on the CPU, with a warning", environment, described)
        yield Case("cuda", "refused, with the reason", environment, described)


def _without_driver(scratch: Path) -> tuple[dict[str, str], str]:
    """Return an environment in which no driver loads, and that in words.

    The loader looks into LD_LIBRARY_PATH first and ends its search at a file of the driver's name that is no library.
    """
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return {}, f"there is no {DRIVER}"
    folder = scratch / "no-driver"
    folder.mkdir(exist_ok=True)
    (folder / DRIVER).touch()
    searched = [str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {"LD_LIBRARY_PATH": ":".join(searched)}, f"an empty {DRIVER} is found before the driver's"
