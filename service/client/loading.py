"""From a path or an address to a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from service.client.errors import ContraflowError
from service.client.model import Model
from service.contract.bundle_schema import BUNDLE_FILE
from service.output.extras import how_to_install


def load(
    source: str | os.PathLike[str],
    *,
    model: str | None = None,
    api_key: str | None = None,
    timeout: float = 60.0,
    execution_provider: Literal["auto", "cpu", "cuda"] = "auto",
) -> Model:
    """Open a model: a bundle, which then runs in this process, or a model of a running service.

    Args:
        source: folder of a bundle, or the address of a service, e.g. "http://localhost:8000".
        model: which of the service's models, as name or name@version; its default if not given.
        api_key: the key that the service asks for.
        timeout: seconds that one request to the service may take.
        execution_provider: where a bundle's graphs run in this process.

    Raises:
        ContraflowError: there is no such model, or it cannot be used; the message says why.
    """
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        from service.client.remote import RemoteModel, Service

        return RemoteModel(Service(source, api_key, timeout), model)
    if model is not None or api_key is not None:
        raise ContraflowError(f"{os.fspath(source)} is a path; `model` and `api_key` are for the address of a service")
    try:
        from service.client.local import LocalModel
    except ModuleNotFoundError as error:
        if (advice := how_to_install(error.name)) is None:
            raise
        raise ContraflowError(advice) from None
    return LocalModel(bundle_folder(Path(source)), execution_provider)


def bundle_folder(path: Path) -> Path:
    """Return the folder of the bundle at `path`.

    Raises:
        ContraflowError: there is none.
    """
    if not path.exists():
        raise ContraflowError(f"{path}: no such file or folder")
    if path.is_dir() and (path / BUNDLE_FILE).is_file():
        return path
    inside = sorted(path.glob(f"*/{BUNDLE_FILE}")) if path.is_dir() else []
    if inside:
        raise ContraflowError(f"{path} is a folder of bundles; name one of them, e.g. {inside[0].parent}")
    raise ContraflowError(f"{path} is no bundle; `contraflow import` makes one of an ONNX file")
