"""Every setting of the service, by what it is about."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bench.reference.markdown import cell, code, table_of
from bench.reference.types import Json, type_of
from service.settings.fields import Settings
from service.settings.reading import PREFIX, shown_default

GROUPS: Final = {
    "Addresses and proxies": "host http_port uds root_path trusted_proxies cors_origins metrics_port",
    "Models": "bundles cache default_model ready_when model_control load_models bundle_poll_seconds",
    "Processor, threads and batches": "execution_provider gpu_memory_limit run_threads decode_threads max_batch "
    "warm_up diagnostics_at_start",
    "Waiting": "max_queued_images deadline_ms",
    "Limits of a request": "max_body_bytes max_images max_image_pixels max_json_depth max_header_bytes",
    "Limits of the whole service": "max_decoding_pixels max_body_bytes_in_flight request_timeout keep_alive "
    "max_connections",
    "Keys": "api_keys api_keys_file metrics_keys requests_per_second",
    "Live traffic": "sample_gradients shadow shadow_share shadow_gradients",
    "Capture": "capture capture_share capture_pictures capture_format capture_max_bytes",
    "Shutdown": "drain_delay shutdown_grace",
    "Logs": "log_format log_level request_log log_top_label",
}
"""Heading → the settings below it."""

UNITS: Final = {2**30: "GiB", 2**20: "MiB", 2**10: "KiB"}


def settings() -> str:
    """Return a table of settings for each group.

    Raises:
        ValueError: a setting is in no group, or in two.
    """
    grouped = [name for names in GROUPS.values() for name in names.split()]
    if sorted(grouped) != sorted(Settings.model_fields):
        odd = {name for name in [*grouped, *Settings.model_fields] if grouped.count(name) != 1}
        raise ValueError(f"GROUPS must name every setting once: {', '.join(sorted(odd))}")
    return "\n\n".join(_blocks())


def _blocks() -> Iterator[str]:
    schemas = Settings.model_json_schema()["properties"]
    for title, names in GROUPS.items():
        yield f"## {title}"
        yield table_of(
            ("flag", "variable", "value", "default", "meaning"), (_row(name, schemas[name]) for name in names.split())
        )


def _row(name: str, schema: Json) -> tuple[str, ...]:
    meaning, stated = cell(schema["description"]), ""
    if match := re.search(r"; default: ([^;]*)$", meaning):
        meaning, stated = meaning[: match.start()], match[1]
    default = shown_default(name)
    shown = stated or (code(default.lower() if schema["type"] == "boolean" else default) if default else "none")
    return f"`--{name.replace('_', '-')}`", f"`{PREFIX}{name.upper()}`", _value(schema), shown + _size(name), meaning


def _value(schema: Json) -> str:
    """Return what may be given, as it is typed: a list is one text."""
    if schema.get("type") == "array":
        return "paths" if schema["items"].get("format") == "path" else "list"
    if schema.get("type") == "boolean":
        return "`true` or `false`"
    return type_of(schema).replace(" or null", "").replace("string", "text")


def _size(name: str) -> str:
    """Return a number of bytes as a person reads it."""
    default = Settings.model_fields[name].default
    if "bytes" not in name or not isinstance(default, int):
        return ""
    unit = next(unit for unit in UNITS if default % unit == 0)
    return f" ({default // unit} {UNITS[unit]})"
