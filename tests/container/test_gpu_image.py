"""The gpu image where there is no GPU: it refuses to start rather than be silently slow, unless told otherwise."""

from __future__ import annotations

import pytest

from tests.container.conftest import Finding
from tests.container.engine import Engine
from tests.container.image_layers import image_size

pytestmark = pytest.mark.container


def test_its_size_is_that_of_cuda(engine: Engine, gpu_image: str, base_image: str, finding: Finding) -> None:
    size = image_size(engine, gpu_image, base_image)
    finding(
        "size above the base",
        found=f"{size.unpacked_above_base:.0f} MB unpacked, {size.compressed_above_base:.0f} MB compressed (gzip)",
        wanted="≤ 2700 MB unpacked",
    )
    assert size.unpacked_above_base <= 2700


def test_it_refuses_to_start_without_a_gpu(engine: Engine, gpu_image: str, finding: Finding) -> None:
    with engine.container(gpu_image) as container:
        status, log = container.wait(120), container.log()
    reasons = [line for line in log.splitlines() if line.startswith("error: ") and "CUDA" in line]
    finding(
        "start without a GPU",
        found=f"exit {status}: {reasons[0] if reasons else 'no word of CUDA'}",
        wanted="exit 1, with the reason",
    )
    assert status == 1
    assert reasons


def test_told_to_take_what_there_is_it_serves_and_warns(engine: Engine, gpu_image: str, finding: Finding) -> None:
    with engine.serving(gpu_image, settings={"CONTRAFLOW_EXECUTION_PROVIDER": "auto"}) as service:
        log = service.container.log()
    warnings = [line for line in log.splitlines() if "WARNING" in line and "CPUExecutionProvider" in line]
    finding(
        "the same with execution_provider=auto",
        found=f"serves on the CPU, {len(warnings)} warning: {warnings[0].split('server: ')[-1] if warnings else ''}",
        wanted="serves, with a warning",
    )
    assert len(warnings) == 1
