"""The gpu image where there is no GPU: it must refuse rather than be silently slow, unless told otherwise."""

from __future__ import annotations

from deploy.check.engine import Engine
from deploy.check.sizes import MEGABYTE, layers_above
from deploy.check.trial import Trial
from deploy.check.trials import serving


def trial_gpu_image(engine: Engine, image: str, base: str) -> list[Trial]:
    """Its size, its refusal, and its loud fall to the CPU when `auto` is asked for."""
    unpacked, compressed, _ = layers_above(engine, image, base)
    with engine.container(image) as container:
        status, said = container.wait(120), container.log()
    told = [line for line in said.splitlines() if line.startswith("error: ") and "CUDA" in line]
    with serving(engine, image, variables=["CONTRAFLOW_EXECUTION_PROVIDER=auto"]) as (container, _, _):
        warned = [line for line in container.log().splitlines() if "WARNING" in line and "CPUExecutionProvider" in line]
    return [
        Trial(
            "size above the base",
            f"{unpacked / MEGABYTE:.0f} MB unpacked, {compressed / MEGABYTE:.0f} MB compressed (gzip)",
            "≤ 2700 MB unpacked",
            unpacked <= 2700 * MEGABYTE,
        ),
        Trial(
            "start without a GPU",
            f"exit {status}: {told[0] if told else 'no word of CUDA'}",
            "exit 1, with the reason",
            status == 1 and bool(told),
        ),
        Trial(
            "the same with execution_provider=auto",
            f"serves on the CPU, {len(warned)} warning: {warned[0].split('server: ')[-1] if warned else ''}",
            "serves, with a warning",
            len(warned) == 1,
        ),
    ]
