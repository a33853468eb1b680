"""Passes the complaints of OpenTelemetry's SDK on to our log, at most one a minute from each of its parts.

A collector that is down would otherwise be worth several lines every few seconds, with tracebacks. The SDK repeats
headers that it cannot read, and there the collector's key is; it is left out.
"""

from __future__ import annotations

import logging
import math
import os
import re
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

EVERY: Final = 60.0
"""Seconds between two lines about one part of the SDK."""

LONGEST: Final = 300
"""Characters that are kept of a complaint."""

SHORTEST_SECRET: Final = 8
"""Characters of a header's value from which it is taken for a secret; a shorter one may be a tenant's number."""

log = logging.getLogger("contraflow.telemetry")


class Complaints(logging.Handler):
    """Logs the first complaint of each logger, and a later one with the number of those that it leaves out."""

    def __init__(self, secrets: list[str]) -> None:
        """`secrets` are left out of all complaints."""
        super().__init__(logging.WARNING)
        self._secrets = secrets
        self._said: dict[str, tuple[float, int]] = {}
        """Logger → when it was heard last, on the monotonic clock, and how many records were left out since."""
        self.silent = False

    def emit(self, record: logging.LogRecord) -> None:
        if self.silent:
            return
        now = time.monotonic()
        last, left_out = self._said.get(record.name, (-math.inf, 0))
        if now - last < EVERY:
            self._said[record.name] = (last, left_out + 1)
            return
        self._said[record.name] = (now, 0)
        words = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            words += f": {record.exc_info[1]}"
        for secret in self._secrets:
            words = words.replace(secret, "…")
        if len(words) > LONGEST:
            words = words[:LONGEST] + "…"
        log.warning("%s%s", words, f" ({left_out} more complaints were left out)" if left_out else "")

    def fall_silent(self) -> None:
        self.silent = True


def listen_to(logger: str) -> Complaints:
    """Take over what `logger` and those below it say."""
    complaints, source = Complaints(header_values(os.environ)), logging.getLogger(logger)
    source.handlers, source.propagate = [complaints], False
    return complaints


def header_values(environment: Mapping[str, str]) -> list[str]:
    """Return the values of headers in the variables `OTEL_…_HEADERS`, as they are and decoded, the longest first."""
    texts = [text for name, text in environment.items() if name.startswith("OTEL_") and name.endswith("_HEADERS")]
    values = [re.split("[=:]", header, maxsplit=1)[-1].strip() for text in texts for header in text.split(",")]
    forms = {form for value in values for form in (value, unquote(value).strip())}
    return sorted([form for form in forms if len(form) >= SHORTEST_SECRET], key=len, reverse=True)
