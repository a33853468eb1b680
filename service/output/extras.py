"""Packages that only some verbs need, the extras that bring them, and the command that installs them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

EXTRAS: Final = {
    "onnxruntime": "cpu",
    "onnx": "export",
    "yaml": "export",
    "torch": "train",
    "onnxscript": "train",
    "safetensors": "train",
    "tqdm": "train",
    "matplotlib": "train",
    "opentelemetry.sdk": "telemetry",
    "opentelemetry.exporter": "telemetry",
}
"""Package, as it is imported → the extra of `pyproject.toml` that brings it. `gpu` brings ONNX Runtime too."""

USED_TOGETHER: Final = {"onnx": ("onnxruntime",)}
"""Package → what every verb that needs it needs as well: a graph that is made is also run."""


def how_to_install(package: str | None) -> str | None:
    """Name a package that is missing, and the command that brings it; None for a package of no extra.

    "onnx is not installed: pip install 'contraflow[export]'"
    """
    top = next((known for known in EXTRAS if f"{package}.".startswith(f"{known}.")), None)
    if top is None:
        return None
    missing = [top, *(other for other in USED_TOGETHER.get(top, ()) if find_spec(other) is None)]
    verb = "is" if len(missing) == 1 else "are"
    extras = ",".join(EXTRAS[name] for name in missing)
    return f"{' and '.join(missing)} {verb} not installed: pip install 'contraflow[{extras}]'"
