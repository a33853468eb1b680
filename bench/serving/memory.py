"""`python -m bench.serving.memory`: the service's memory by stage, from a bare interpreter to a warm model.

Each line is the process's proportional set size in MB after the stage.
"""

from __future__ import annotations

import importlib

import psutil

from bench.harness.paths import SHIPPED

IMPORTS = (
    ("asyncio, with OpenSSL", ("asyncio", "ssl")),
    ("numpy", ("numpy",)),
    ("Pillow and libjpeg-turbo", ("PIL.Image", "simplejpeg")),
    ("ONNX Runtime", ("onnxruntime",)),
    ("FastAPI, with pydantic and starlette", ("fastapi",)),
    ("uvicorn, with uvloop and httptools", ("uvicorn", "uvloop", "httptools")),
    ("Prometheus client", ("prometheus_client",)),
    ("the service", ("service.app", "service.http.server")),
)


def load_one_model() -> None:
    """Load a model as the service does at its start."""
    from service.bundles.disk import read_bundle
    from service.bundles.loading import Loader
    from service.bundles.registry import Registry
    from service.bundles.served_model import ServedModel
    from service.bundles.source import FolderSource
    from service.contract.runtime.opening import Runtime

    runtime = Runtime("cpu")
    model = ServedModel(read_bundle(SHIPPED / "resnet20"), runtime.provider)
    Loader([FolderSource(SHIPPED)], Registry(), runtime, max_batch=32).load_now(model, model.graph("forward"))


def main() -> None:
    process = psutil.Process()
    before = 0.0

    def show(stage: str) -> None:
        nonlocal before
        now = process.memory_full_info().pss / 1e6
        print(f"{now:7.1f}  {now - before:+6.1f}  {stage}")
        before = now

    show("Python, and this script")
    for name, modules in IMPORTS:
        for module in modules:
            importlib.import_module(module)
        show(name)
    load_one_model()
    show("one model (resnet20), loaded and warm")


if __name__ == "__main__":
    main()
