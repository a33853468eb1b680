"""Reads the settings from `CONTRAFLOW_*` variables and flags, and says in one line what is wrong with them."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.settings.fields import Settings
from service.settings.values import ANY

PREFIX = "CONTRAFLOW_"

KUBERNETES_SERVICE_LINK = re.compile(
    PREFIX + r"(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)?)"
)
"""Variables that Kubernetes injects into every pod beside a Service named contraflow, such as CONTRAFLOW_PORT=tcp://….

They are ignored with a warning; every other unknown `CONTRAFLOW_*` is refused.
"""


class SettingsError(Exception):
    """A setting is unknown, or its value makes no sense; the message is for the person who set it."""


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
    names: Sequence[str]
    if settings.requests_per_second and not settings.asks_for_keys:
        names = [names_of_setting(name) for name in ("requests_per_second", "api_keys", "api_keys_file")]
        raise SettingsError(f"{names[0]} is for each API key, and there are none: it needs {names[1]} or {names[2]}")
    if set(settings.api_keys) & set(settings.metrics_keys):
        names = [names_of_setting(name) for name in ("metrics_keys", "api_keys")]
        raise SettingsError(f"a key of {names[0]} opens /metrics alone, and cannot be one of {names[1]} too")
    if settings.metrics_keys and settings.metrics_port is not None:
        names = [names_of_setting(name) for name in ("metrics_keys", "metrics_port")]
        raise SettingsError(f"{names[0]} would open nothing: the port of {names[1]} asks for no key")
    if settings.metrics_port and settings.metrics_port == settings.http_port and settings.uds is None:
        names = [names_of_setting(name) for name in ("metrics_port", "http_port")]
        raise SettingsError(f"{names[0]} must be another port than {names[1]}; both are {settings.http_port}")
    _check_what_belongs_to(settings, "capture", "what is captured")
    _check_what_belongs_to(settings, "shadow", "the shadow")
    if settings.shadow is not None and settings.shadow == settings.default_model:
        names = [names_of_setting(name) for name in ("shadow", "default_model")]
        raise SettingsError(f"{names[0]} and {names[1]} are both {settings.shadow}: it would be compared with itself")
    if ANY in settings.cors_origins and settings.asks_for_keys:
        keys = "api_keys" if settings.api_keys else "api_keys_file"
        names = [names_of_setting(name) for name in ("cors_origins", keys)]
        raise SettingsError(f"{names[0]} is *, and there are keys ({names[1]}): name the origins that may use them")
    if settings.gpu_memory_limit is not None and settings.execution_provider == "cpu":
        names = [names_of_setting(name) for name in ("gpu_memory_limit", "execution_provider")]
        raise SettingsError(f"{names[0]} is for a GPU, and {names[1]} is cpu")
    if settings.load_models and settings.model_control != "explicit":
        names = [names_of_setting(name) for name in ("load_models", "model_control")]
        raise SettingsError(f"{names[0]} is for {names[1]} explicit; otherwise every bundle is loaded")
    if settings.max_body_bytes > settings.max_body_bytes_in_flight:
        names = [names_of_setting(name) for name in ("max_body_bytes", "max_body_bytes_in_flight")]
        raise SettingsError(f"{names[0]} is over {names[1]}, so that the largest bodies could never be taken")


def _check_what_belongs_to(settings: Settings, name: str, what: str) -> None:
    """Refuse settings that say more of what another one, `name`, does not ask for."""
    for more in Settings.model_fields:
        is_more = more.startswith(f"{name}_")
        if (
            is_more
            and getattr(settings, name) is None
            and getattr(settings, more) != Settings.model_fields[more].default
        ):
            raise SettingsError(f"{names_of_setting(more)} is about {what}: it needs {names_of_setting(name)}")


def names_of_setting(name: str) -> str:
    """Return a setting's name, flag and variable, e.g. "http_port (--http-port, CONTRAFLOW_HTTP_PORT)"."""
    return f"{name} (--{name.replace('_', '-')}, {PREFIX}{name.upper()})"


def _in_words(problem: ErrorDetails) -> str:
    """Describe a value that is not allowed, once. A value that may be a key itself is not shown."""
    message = problem["msg"].removeprefix("Value error, ")
    name = str(problem["loc"][0])
    value = repr(str(problem["input"])[:60])
    shown = "" if name in ("api_keys", "metrics_keys") or value in message else f", not {value}"
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
            nearest = get_close_matches(variable, variables())
            known = dict.fromkeys([*nearest, *variables()])
            raise SettingsError(f"unknown variable {variable}; known are {', '.join(known)}")
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
