"""The engine, the images under test, and the table of findings that `make container-report` publishes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

import pytest

from tests.container.engine import Engine, EngineError

CPU_IMAGE, GPU_IMAGE = "contraflow:cpu", "contraflow:gpu"


class Finding(Protocol):
    """Records one row of the published table; whether it passed is the outcome of the test that records it."""

    def __call__(self, tried: str, *, found: str, wanted: str) -> None: ...


@pytest.fixture
def finding(record_property: Callable[[str, object], None]) -> Finding:
    """The row is a property of the test in pytest's XML report, where `tests.container.report` reads it."""

    def record(tried: str, *, found: str, wanted: str) -> None:
        for name, value in {"tried": tried, "found": found, "wanted": wanted}.items():
            record_property(name, value)

    return record


@pytest.fixture(scope="session")
def engine() -> Engine:
    try:
        return Engine.answering()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def image(engine: Engine) -> str:
    """The image that serves on CPUs: built here, unless CONTAINER_IMAGE names one that is there already."""
    named = os.environ.get("CONTAINER_IMAGE")
    if not named:
        engine.build("cpu", CPU_IMAGE)
    return named or CPU_IMAGE


@pytest.fixture(scope="session")
def gpu_image(engine: Engine) -> str:
    """The image that serves on a GPU: CONTAINER_GPU=1 has it built, which downloads another 3 GB."""
    if os.environ.get("CONTAINER_GPU") != "1":
        pytest.skip("the gpu image is built with CONTAINER_GPU=1 only")
    engine.build("gpu", GPU_IMAGE)
    return GPU_IMAGE


@pytest.fixture(scope="session")
def base_image() -> str:
    """The image that both are built on."""
    return os.environ.get("CONTAINER_BASE", "python:3.11-slim-bookworm")
