"""A running service, asked over HTTP by the standard library alone."""

from __future__ import annotations

import base64
import http.client
import json
import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from service import __version__
from service.output.system_errors import system_reason

T = TypeVar("T", bound=BaseModel)

SCHEMES: Final = ("http://", "https://")
KEY_VARIABLE: Final = "CONTRAFLOW_API_KEY"
BUSY: Final = (429, 503)
"""Statuses that speak of the service's load."""
LONGEST_WAIT: Final = 5.0
"""Seconds between two questions to a busy service."""


class NoAnswer(Exception):
    """The service refuses, in its own words, or does not answer; `slug` is what programs tell refusals apart by."""

    def __init__(self, message: str, slug: str | None = None) -> None:
        super().__init__(message)
        self.slug = slug


class Service:
    """The address of a running service, and how to ask it."""

    def __init__(self, url: str, api_key: str | None, timeout: float, patience: float = 0.0) -> None:
        """Ask nothing yet.

        Args:
            timeout: seconds that one request may take.
            patience: seconds in which a busy service is asked again.
        """
        self.url = url.rstrip("/")
        self._timeout, self._patience = timeout, patience
        self._headers = {"User-Agent": f"contraflow/{__version__}", "Accept": "application/json"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def ask(self, path: str, content: dict[str, Any] | None = None) -> bytes:
        """Return the body of the answer to GET `path`, or to POST with `content` as JSON.

        Raises:
            NoAnswer: the service refuses, stays busy, or does not answer.
        """
        data = None if content is None else json.dumps(content).encode()
        headers = self._headers if data is None else {**self._headers, "Content-Type": "application/json"}
        end = time.monotonic() + self._patience
        while True:
            try:
                request = urllib.request.Request(self.url + path, data, headers)
                with urllib.request.urlopen(request, timeout=self._timeout) as answer:
                    body: bytes = answer.read()
                    return body
            except urllib.error.HTTPError as error:
                with error:
                    wait = _wait(error)
                    if error.code not in BUSY or time.monotonic() + wait > end:
                        raise self._refusal(error) from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = error.reason if isinstance(error, urllib.error.URLError) else error
                words = system_reason(reason) if isinstance(reason, OSError) else str(reason)
                raise NoAnswer(f"{self.url} does not answer: {words}") from None
            time.sleep(wait)

    def read(self, schema: type[T], body: bytes) -> T:
        """Return an answer as an object.

        Raises:
            NoAnswer: it has another shape.
        """
        try:
            return schema.model_validate_json(body)
        except ValidationError:
            raise NoAnswer(f"{self.url} answers otherwise than version {__version__} does") from None

    def _refusal(self, error: urllib.error.HTTPError) -> NoAnswer:
        try:
            problem = json.loads(error.read())
            return NoAnswer(problem["detail"], problem["type"].rpartition(":")[2])
        except (ValueError, KeyError, TypeError, AttributeError, OSError, http.client.HTTPException):
            return NoAnswer(f"{self.url} answers with status {error.code}, as no Contraflow service does")


def in_text(content: bytes) -> str:
    """Return a file as it stands in a JSON body."""
    return base64.b64encode(content).decode("ascii")


def _wait(error: urllib.error.HTTPError) -> float:
    """Return the seconds after which a busy service wants to be asked again."""
    told = error.headers.get("retry-after", "")
    return min(float(told), LONGEST_WAIT) if told.isdecimal() else 1.0


def key_of(file: Path | None) -> str | None:
    """Return the API key: of the file if there is one, else of the variable; None if neither is given.

    Raises:
        ValueError: it is no key.
        OSError: the file cannot be read.
    """
    place = KEY_VARIABLE if file is None else str(file)
    key = os.environ.get(KEY_VARIABLE, "") if file is None else file.read_text(errors="replace").strip()
    if not key and file is None:
        return None
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError(f"{place}: one key is needed, of printable ASCII characters")
    return key
