"""All settings of the service: name, default, limits and meaning.

The setting `max_body_bytes` is set by the variable `CONTRAFLOW_MAX_BODY_BYTES` or the flag `--max-body-bytes`; the
flag takes precedence. No setting may be named `port`: Kubernetes injects `CONTRAFLOW_PORT=tcp://…` into every pod
beside a Service named contraflow, and others that end in `_SERVICE_HOST`, `_SERVICE_PORT…` and `_PORT_<number>_TCP…`.
These are ignored with a warning; every other unknown `CONTRAFLOW_*` is refused.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from service.images.limits import DECODING_BYTES, MAX_PIXELS, MAX_PIXELS_COPIED, MAX_SIDE

PREFIX = "CONTRAFLOW_"

KUBERNETES_SERVICE_LINK = re.compile(
    PREFIX + r"(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)?)"
)

ReadyWhen = Literal["all", "default"]

MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?:@[0-9]{1,9})?")
"""Name of a bundle, with or without a version."""

DEFAULT_BUNDLES = (Path("models/bundles"),)

KEY_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class SettingsError(Exception):
    """A setting is unknown, or its value makes no sense; the message is for the person who set it."""


class Settings(BaseModel):
    """Settings of one server."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 for all")
    http_port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    bundles: tuple[Path, ...] = Field(
        default=DEFAULT_BUNDLES,
        min_length=1,
        description="what to serve: folders of bundles, bundles, .onnx files, folders of models; `:` between several, "
        "or as arguments without a flag",
    )
    cache: Path | None = Field(
        default=None,
        description="folder to keep imported models in; default: contraflow in the user's folder of caches",
    )
    default_model: str | None = Field(
        default=None,
        description="model of requests that name none, as name or name@version, which must be served; "
        "default: the first by name",
    )
    ready_when: ReadyWhen = Field(
        default="all", description="what /health/ready waits for: the forward graphs of all bundles, or the default's"
    )
    execution_provider: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto takes CUDA if it works; cuda refuses to start if it does not"
    )

    run_threads: int | None = Field(
        default=None, ge=1, le=256, description="runs at a time, each on one thread; default: the container's CPUs"
    )
    decode_threads: int | None = Field(
        default=None, ge=1, le=256, description="images decoded at a time; default: the container's CPUs"
    )
    max_batch: int = Field(default=32, ge=1, le=1024, description="most images in one run")
    warm_up: bool = Field(
        default=True, description="time each graph before it is ready, and find its best batch size afterwards"
    )
    diagnostics_at_start: bool = Field(
        default=False, description="load the graphs for diagnostics at the start, not on their first use"
    )

    max_queued_images: int = Field(
        default=1024, ge=1, description="images that may wait; beyond them requests are refused (503)"
    )
    deadline_ms: float = Field(
        default=30_000, gt=0, description="longest wait for an answer, for requests without X-Deadline-Ms"
    )
    sample_gradients: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the images sent to /predict whose gradients are measured too, on idle run slots, for "
        "/metrics",
    )
    bundle_poll_seconds: float = Field(
        default=2.0, ge=0, description="seconds between two looks at the folder of bundles for changes; 0: never"
    )
    drain_delay: float = Field(
        default=5.0,
        ge=0,
        description="seconds of service after SIGTERM, until orchestrators no longer route here",
    )
    shutdown_grace: float = Field(default=20.0, ge=0, description="seconds after drain_delay for requests in flight")

    max_body_bytes: int = Field(default=16 * 2**20, ge=1024, description="largest request body")
    max_images: int = Field(default=64, ge=1, description="most images in one request")
    max_image_pixels: int = Field(
        default=MAX_PIXELS,
        ge=1,
        description="pixels of the largest image, by its header "
        f"(WEBP and AVIF: {MAX_PIXELS_COPIED // 10**6} million at most; a side: {MAX_SIDE:,})",
    )
    max_decoding_pixels: int = Field(
        default=50_000_000,
        ge=1,
        description="pixels being decoded at a time, over all requests; less if memory is limited",
    )
    max_body_bytes_in_flight: int = Field(
        default=256 * 2**20,
        ge=1024,
        description="bytes of large bodies held at a time, over all requests (503); less if memory is limited",
    )
    max_json_depth: int = Field(default=16, ge=2, description="deepest nesting of a JSON body")
    max_header_bytes: int = Field(default=32 * 2**10, ge=1024, description="largest request head")
    request_timeout: float = Field(
        default=30.0,
        gt=0,
        description="seconds in which a request must arrive whole (408), and a client must read some of its answer",
    )
    keep_alive: float = Field(default=75.0, gt=0, description="seconds an idle connection is kept")
    max_connections: int = Field(
        default=4096,
        ge=1,
        description="connections open at a time; beyond them the longest idle are closed; fewer if descriptors are few",
    )

    api_keys: tuple[str, ...] = Field(
        default=(), description="sha256:<hex> digests of the keys that may call, comma-separated; none: open to all"
    )
    requests_per_second: float = Field(
        default=0.0, ge=0, description="average rate of each API key (429 beyond it); 0: no limit"
    )
    log_format: Literal["text", "json"] = Field(default="text", description="one line of text, or one JSON object")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe level that is logged"
    )

    @field_validator("default_model")
    @classmethod
    def _only_a_name(cls, value: str | None) -> str | None:
        if value and not MODEL.fullmatch(value):
            raise ValueError(f"{value!r} is neither a bundle's name nor name@version")
        return value or None  # an empty variable counts as not set

    @field_validator("bundles", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = tuple(value.split(os.pathsep))
        if "" in value:
            raise ValueError("a path is needed")  # Path("") would be the working directory
        return value

    @field_validator("cache", mode="before")
    @classmethod
    def _no_empty_path(cls, value: Any) -> Any:
        return value or None  # an empty variable counts as not set

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split_list(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("api_keys")
    @classmethod
    def _only_digests(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(KEY_DIGEST.fullmatch(digest) for digest in value):
            raise ValueError("each key is given as sha256:<64 hexadecimal digits>, e.g. by `printf %s KEY | sha256sum`")
        if len(set(value)) != len(value):
            raise ValueError("a key is given twice")
        return value


def within_memory(settings: Settings, limit: int | None) -> Settings:
    """Lower the settings to what a container of `limit` bytes can hold at a time; None is no limit.

    A container that exceeds its limit is killed with everything in flight, so what an overload can pile up is kept
    well below it: bodies get a fifth of the limit, and images being decoded a half. The rest is for the process
    itself, its weights and its runs.
    """
    if limit is None:
        return settings
    bodies = min(settings.max_body_bytes_in_flight, max(limit // 5, settings.max_body_bytes))
    pixels = min(settings.max_decoding_pixels, limit // 2 // DECODING_BYTES)
    return settings.model_copy(update={"max_body_bytes_in_flight": bodies, "max_decoding_pixels": max(1, pixels)})


def read_settings(
    environment: Mapping[str, str], arguments: Sequence[str] = (), program: str = "python -m service"
) -> tuple[Settings, list[str]]:
    """Read the settings from `CONTRAFLOW_*` variables and flags; return them with the warnings to log.

    `program` is what was typed before the flags; usage and errors begin with it.

    Raises:
        SettingsError: a variable is unknown, a value is not allowed, or two values contradict each other.
        SystemExit: raised by argparse for an unknown flag and for `--help`.
    """
    values, warnings = _from_environment(environment)
    values.update(_from_flags(arguments, program))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingsError("; ".join(map(_in_words, error.errors(include_url=False)))) from None
    _check_together(settings)
    return settings, warnings


def _check_together(settings: Settings) -> None:
    if settings.requests_per_second and not settings.api_keys:
        names = names_of_setting("requests_per_second"), names_of_setting("api_keys")
        raise SettingsError(f"{names[0]} is for each API key, and there are none: it needs {names[1]}")
    if settings.max_body_bytes > settings.max_body_bytes_in_flight:
        names = names_of_setting("max_body_bytes"), names_of_setting("max_body_bytes_in_flight")
        raise SettingsError(f"{names[0]} is over {names[1]}, so that the largest bodies could never be taken")


def names_of_setting(name: str) -> str:
    """Return a setting's name, flag and variable, e.g. "http_port (--http-port, CONTRAFLOW_HTTP_PORT)"."""
    return f"{name} (--{name.replace('_', '-')}, {PREFIX}{name.upper()})"


def _in_words(problem: ErrorDetails) -> str:
    """Describe a value that is not allowed. The value of `api_keys` is not shown, because it may be a key itself."""
    message = problem["msg"].removeprefix("Value error, ")
    name = str(problem["loc"][0])
    shown = "" if name == "api_keys" else f", not {str(problem['input'])[:60]!r}"
    return f"{names_of_setting(name)}: {message}{shown}"


def _from_environment(environment: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    warnings: list[str] = []
    for variable, value in environment.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        is_link = KUBERNETES_SERVICE_LINK.fullmatch(variable) is not None
        if name in Settings.model_fields and not (is_link and "://" in value):
            values[name] = value
        elif is_link:
            warnings.append(f"{variable} is ignored: it looks like a Kubernetes service link, not a setting")
        else:
            raise SettingsError(f"unknown variable {variable}; known are {', '.join(variables())}")
    return values, warnings


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line; the usage of forty flags, which argparse prints, would hide it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; --help lists the flags\n")


def _from_flags(arguments: Sequence[str], program: str) -> dict[str, Any]:
    parser = _Parser(
        prog=program,
        usage="%(prog)s [PATH …] [flags]",
        description="Serve image classifiers over HTTP. PATH is a folder of bundles, a bundle, an .onnx file, or the "
        "folder of a model. What is no bundle is imported; the flags of `contraflow import` (--labels, --mean …) "
        "are passed on to the import if there is one thing to import.",
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="what to serve; the same as --bundles PATH")
    for name, field in Settings.model_fields.items():
        text = f"{field.description} (default: {shown_default(name)}; {PREFIX}{name.upper()})".replace("%", "%%")
        parser.add_argument("--" + name.replace("_", "-"), dest=name, default=argparse.SUPPRESS, help=text, metavar="…")
    values = vars(parser.parse_intermixed_args(arguments))
    if paths := values.pop("paths"):
        values["bundles"] = (*paths, *values["bundles"].split(os.pathsep)) if "bundles" in values else tuple(paths)
    return values


def shown_default(name: str) -> str:
    """Return the default of a setting as a user would write it."""
    default = Settings.model_fields[name].default
    return os.pathsep.join(map(str, default)) if isinstance(default, tuple) else "" if default is None else str(default)


def variables() -> list[str]:
    """Return the names of all variables, e.g. CONTRAFLOW_HOST."""
    return [PREFIX + name.upper() for name in Settings.model_fields]
