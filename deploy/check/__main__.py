"""`python -m deploy.check lint`: what needs no engine. `… report`: everything, written into docs/deployment.md.

Both print a table and exit 1 if anything failed. `report` builds `contraflow:cpu` unless `--no-build` is
given, and needs docker or podman (or CONTAINER_ENGINE) and a compose tool (or COMPOSE).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.check.batch import trial_batch
from deploy.check.engine import Engine, EngineError
from deploy.check.gpu import trial_gpu_image
from deploy.check.lint import lint
from deploy.check.monitoring import trial_monitoring
from deploy.check.report import machine, write
from deploy.check.sizes import trial_size
from deploy.check.supply import audit, bill_of_materials, installed
from deploy.check.together import trial_compose, trial_kube_play
from deploy.check.trial import Trial, table
from deploy.check.trials import (
    MODEL,
    trial_answers,
    trial_contents,
    trial_cpu_limit,
    trial_memory_limits,
    trial_start,
    trial_termination,
    trial_wrong_bundle,
)

ROOT = Path(__file__).parents[2]
SCRATCH = ROOT / "build"
GPU_IMAGE = "contraflow:gpu"

NamedTrial = tuple[str, Callable[[], list[Trial]]]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.check", description="Check how Contraflow is deployed.")
    parser.add_argument("what", choices=("lint", "report"))
    parser.add_argument("--no-build", action="store_true", help="take the image as it is")
    parser.add_argument("--image", default="contraflow:cpu", help="the image to try (default: %(default)s)")
    parser.add_argument("--base", default="python:3.11-slim-bookworm", help="the image it is built on")
    parser.add_argument("--base-note", default="", help="what the report says of the base image")
    parser.add_argument("--bundles", type=Path, default=ROOT / "models/bundles")
    parser.add_argument("--gpu", action="store_true", help="build and try contraflow:gpu too (3 GB more to download)")
    parser.add_argument("--print", action="store_true", help="print the report and leave docs/deployment.md alone")
    options = parser.parse_args(arguments)
    linted = lint(ROOT)
    print(table(linted), flush=True)
    if options.what == "lint":
        return _status(linted)
    engine = Engine.found()
    if not options.no_build:
        engine.build(ROOT, "cpu", options.image)
        if options.gpu:
            engine.build(ROOT, "gpu", GPU_IMAGE)
    packages = installed(engine, options.image)
    supplied = [bill_of_materials(packages, SCRATCH / "sbom-cpu.cdx.json"), audit(packages, SCRATCH)]
    print(table(supplied), flush=True)
    tried = _tried(_image_trials(engine, options.image, options))
    gpu = _tried([("gpu image", lambda: trial_gpu_image(engine, GPU_IMAGE, options.base))] if options.gpu else [])
    sections = {"The image, tried": tried, "The gpu image": gpu, "Supply chain": supplied, "Files": linted}
    if not options.print:
        write(ROOT / "docs/deployment.md", sections, machine(engine, options.base_note))
    return _status([*tried, *gpu, *linted])


def _image_trials(engine: Engine, image: str, options: argparse.Namespace) -> list[NamedTrial]:
    return [
        ("size", lambda: trial_size(engine, image, options.base)),
        ("contents", lambda: trial_contents(engine, image)),
        ("start", lambda: trial_start(engine, image)),
        ("answers", lambda: trial_answers(engine, image)),
        ("termination", lambda: trial_termination(engine, image)),
        ("memory limits", lambda: trial_memory_limits(engine, image)),
        ("CPU limit", lambda: trial_cpu_limit(engine, image)),
        ("wrong bundles", lambda: trial_wrong_bundle(engine, image, options.bundles)),
        ("batch", lambda: trial_batch(engine, image, ROOT, MODEL)),
        ("compose", lambda: trial_compose(engine, ROOT)),
        ("monitoring", lambda: trial_monitoring(engine, ROOT)),
        ("kube play", lambda: trial_kube_play(engine, ROOT, image)),
    ]


def _tried(trials: Sequence[NamedTrial]) -> list[Trial]:
    """Every trial, printed as it comes; one that breaks is a failed trial, not the end of the report."""
    results: list[Trial] = []
    for name, trial in trials:
        try:
            found = trial()
        except (EngineError, subprocess.SubprocessError, OSError, AssertionError, ValueError) as error:
            found = [Trial(name, f"broke off: {' '.join(str(error).split())[:300]}", "a result", False)]
        print(table(found), flush=True)
        results += found
    return results


def _status(trials: Sequence[Trial]) -> int:
    return 0 if all(trial.passed for trial in trials) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except EngineError as error:
        sys.exit(f"error: {error}")
