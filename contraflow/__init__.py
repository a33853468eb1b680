"""The public face of Contraflow: the command `contraflow`, and what Python programs import. No logic of its own.

    import contraflow as cf

    model = cf.load("net.onnx", preprocessing="imagenet")  # or a model's folder, a bundle, "http://localhost:8000"
    model.predict("cat.jpg")                               # ranked labels
    model.gradients(["cat.jpg", "dog.jpg"]).to_pandas()    # a row for every image and layer
    model.check(["cat.jpg", "dog.jpg"]).state              # "healthy", "vanishing", …
    model.explain("cat.jpg", "cat").samples[0].map         # where the evidence for a label lies
    cf.differentiate(onnx.load("net.onnx"))                # the gradient graph alone

__main__   the command line: each verb is passed on to the package that does it
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from service import __version__
from service.output.extras import how_to_install

if TYPE_CHECKING:
    from export.gradient import differentiate
    from service.client.errors import ContraflowError
    from service.client.loading import load
    from service.client.model import Model
    from service.client.results import MeasuredGradients

__all__ = ["ContraflowError", "MeasuredGradients", "Model", "__version__", "differentiate", "load"]

HOMES: Final = {
    "ContraflowError": "service.client.errors",
    "MeasuredGradients": "service.client.results",
    "Model": "service.client.model",
    "differentiate": "export.gradient",
    "load": "service.client.loading",
}
"""Name → the module that has it, imported on first use: the import of this package stays light."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(HOMES[name]), name)
    except ModuleNotFoundError as error:
        if (advice := how_to_install(error.name)) is None:
            raise
        raise ModuleNotFoundError(advice, name=error.name) from None


def __dir__() -> list[str]:
    return [*globals(), *HOMES]
