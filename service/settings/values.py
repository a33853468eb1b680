"""Types of settings: how the text of a variable or flag becomes a value, and which values are refused."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from service.contract.execution_provider import checked_provider

MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?:@[0-9]{1,9})?")
"""Name of a bundle, with or without a version."""

KEY_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")

ANY: Final = "*"
"""Stands for all origins, or all proxies."""

UNIX: Final = "unix"
"""Stands for every peer that connects over a Unix socket: it has no address."""

ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")
"""An origin as browsers send it, in lower case: a scheme, a host, and a port unless it is the scheme's own."""

USUAL_PORTS: Final = {"http": ":80", "https": ":443"}
"""Ports that browsers leave out of an origin."""

PATH_PREFIX: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
"""A path whose characters are the same escaped and not, without dots for folders and without a slash at its end."""


def _none_if_empty(value: Any) -> Any:
    return value or None  # an empty variable counts as not set


def _none_if_unset(value: Any) -> Any:
    return None if value == "" else value  # 0 is a value


def _only_a_name(value: str | None) -> str | None:
    if value and not MODEL.fullmatch(value):
        raise ValueError(f"{value!r} is neither a bundle's name nor name@version")
    return value


def _name_and_version(value: str | None) -> str | None:
    if value and not (MODEL.fullmatch(value) and "@" in value):
        raise ValueError(f"{value!r} is not name@version, such as pets@2")
    return value


def _split_paths(value: Any) -> Any:
    if isinstance(value, str):
        value = tuple(value.split(os.pathsep))
    if "" in value:
        raise ValueError("a path is needed")  # Path("") would be the working directory
    return value


def _split_list(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _only_digests(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(KEY_DIGEST.fullmatch(digest) for digest in value):
        raise ValueError("each key is given as sha256:<64 hexadecimal digits>, e.g. by `printf %s KEY | sha256sum`")
    if len(set(value)) != len(value):
        raise ValueError("a key is given twice")
    return value


def _at_least_one(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("an address is needed")
    return value


def _only_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one if one == ANY else _origin(one) for one in value))


def _origin(text: str) -> str:
    """Return an origin as browsers send it."""
    origin = text.lower()
    if not ORIGIN.fullmatch(origin):
        raise ValueError(f"{text!r} is no origin: write scheme://host or scheme://host:port, without a path, or *")
    return origin.removesuffix(USUAL_PORTS.get(origin.partition(":")[0], " "))


def _only_proxies(value: tuple[str, ...]) -> tuple[str, ...]:
    for one in value:
        if one not in (ANY, UNIX):
            _check_network(one)
    return value


def _check_network(text: str) -> None:
    try:
        if "/" in text:
            ip_network(text)
        else:
            ip_address(text)
    except ValueError as error:
        raise ValueError(f"{error}; write an address, a network such as 10.0.0.0/8, {UNIX} or {ANY}") from None


def _only_a_prefix(value: str) -> str:
    if value and not PATH_PREFIX.fullmatch(value):
        raise ValueError("a prefix begins with a slash, ends without one, and has letters, digits and ._~- between")
    return value


def _only_names(value: tuple[str, ...]) -> tuple[str, ...]:
    if "*" in value and len(value) > 1:
        raise ValueError("* is all models, so that it stands alone")
    for name in value:
        if name != "*" and (not MODEL.fullmatch(name) or "@" in name):
            raise ValueError(f"{name!r} is not the name of a bundle; a load is of all its versions")
    return value


OptionalPath = Annotated[Path | None, BeforeValidator(_none_if_empty)]

OptionalPort = Annotated[int | None, BeforeValidator(_none_if_unset), Field(ge=0, le=65535)]

OptionalBytes = Annotated[int | None, BeforeValidator(_none_if_unset), Field(ge=2**20)]
"""A number of bytes, or no limit."""

ExecutionProvider = Annotated[str, AfterValidator(checked_provider)]
"""auto, cpu, cuda, or cuda:N."""

ModelName = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_only_a_name)]
"""name, name@version, or None."""

ModelVersion = Annotated[str | None, BeforeValidator(_none_if_empty), AfterValidator(_name_and_version)]
"""name@version, or None."""

Words = Annotated[tuple[str, ...], BeforeValidator(_split_list)]
"""Words, separated by commas."""

ModelNames = Annotated[Words, AfterValidator(_only_names)]
"""Names of bundles, or one "*" for all."""

Paths = Annotated[tuple[Path, ...], BeforeValidator(_split_paths)]
"""Paths, separated as in `PATH`."""

Digests = Annotated[Words, AfterValidator(_only_digests)]
"""Digests of keys, each once."""

Hosts = Annotated[Words, AfterValidator(_at_least_one)]
"""Names or addresses of this machine."""

Origins = Annotated[Words, AfterValidator(_only_origins)]
"""Origins of pages as browsers send them, or `ANY`."""

Proxies = Annotated[Words, AfterValidator(_only_proxies)]
"""Addresses, networks, `UNIX` or `ANY`."""

PathPrefix = Annotated[str, AfterValidator(_only_a_prefix)]
"""A path such as /vision, or nothing."""
