"""From a path or an address to a model."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from service.client.errors import ContraflowError
from service.client.model import Model
from service.output.extras import how_to_install
from service.sources.flags import SWITCHES, VALUED

log = logging.getLogger("contraflow.import")


def load(
    source: str | os.PathLike[str],
    *,
    model: str | None = None,
    api_key: str | None = None,
    timeout: float = 60.0,
    execution_provider: str = "auto",
    **import_flags: Any,
) -> Model:
    """Open a model, which then runs in this process, or a model of a running service.

    Args:
        source: a bundle, an .onnx file, or the folder of a model, which are imported into the user's cache; or the
            address of a service, e.g. "http://localhost:8000".
        model: which of the service's models, as name or name@version; its default if not given.
        api_key: the key that the service asks for.
        timeout: seconds that one request to the service may take.
        execution_provider: where the graphs run in this process: "auto", "cpu", "cuda", or "cuda:1" for the second GPU.
        import_flags: what `contraflow import` takes, with underscores: `preprocessing="imagenet"`,
            `labels="labels.txt"`, `mean=(0.5, 0.5, 0.5)`, `letterbox=True`.

    Raises:
        ContraflowError: there is no such model, or it cannot be used; the message says why.
    """
    flags = _as_flags(import_flags)
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        from service.client.remote import RemoteModel, Service

        if flags:
            raise ContraflowError(f"{source} is a service; {', '.join(import_flags)}: for a model that is imported")
        return RemoteModel(Service(source, api_key, timeout), model)
    if model is not None or api_key is not None:
        raise ContraflowError(f"{os.fspath(source)} is a path; `model` and `api_key` are for the address of a service")
    try:
        return _opened(Path(source), flags, execution_provider)
    except ModuleNotFoundError as error:
        if (advice := how_to_install(error.name)) is None:
            raise
        raise ContraflowError(advice) from None


def _opened(path: Path, flags: list[str], execution_provider: str) -> Model:
    from service.client.local import LocalModel
    from service.sources.kinds import SourceError
    from service.sources.opening import bundle_at

    try:
        return LocalModel(bundle_at(path, flags, os.environ, log.info), execution_provider)
    except SourceError as error:
        raise ContraflowError(str(error)) from None


def _as_flags(given: dict[str, Any]) -> list[str]:
    """Return the flags of an import as they are typed.

    Raises:
        ContraflowError: there is no such flag.
    """
    flags = []
    for name, value in given.items():
        flag = name.replace("_", "-")
        if flag in SWITCHES and isinstance(value, bool):
            flags += [f"--{flag}"] if value else []
        elif flag in VALUED and value is not None:
            text = ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
            flags.append(f"--{flag}={text}")
        elif value is not None:
            known = ", ".join(sorted(one.replace("-", "_") for one in VALUED | SWITCHES))
            raise ContraflowError(f"load() takes no {name}={value!r}; for an import it takes {known}")
    return flags
