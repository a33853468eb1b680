"""Log lines: text for people, or one JSON object each for programs; written so that nobody waits for their reader."""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Literal

from service.output.log_writer import LogWriter

STANDARD_ERROR: Final = 2

LAST_SECONDS: Final = 1.0
"""Longest wait at the end for somebody to read the last lines."""


class Message:
    """A message of named values: a line of text has it as `str`, a line of JSON has its `fields`.

    It never changes, and is put into words by the thread that writes it.
    """

    @abstractmethod
    def summary(self) -> str:
        """Return the "message" of the line of JSON."""

    @abstractmethod
    def fields(self) -> dict[str, Any]:
        """Return what the line of JSON has besides."""


class Seconds:
    """Writes the whole seconds of times in one form; most lines have the second of the line before."""

    def __init__(self, form: str, place: Callable[[float], time.struct_time]) -> None:
        """`place` is `time.localtime` or `time.gmtime`."""
        self._form = form
        self._place = place
        self._last = (-1, "")

    def text(self, created: float) -> str:
        second, text = self._last
        if int(created) != second:
            second = int(created)
            text = time.strftime(self._form, self._place(second))
            self._last = second, text
        return text


class TextFormatter(logging.Formatter):
    """Formats a record as time, level, logger and message, with the ids of the request and its trace if known."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._seconds = Seconds("%Y-%m-%d %H:%M:%S", time.localtime)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return f"{self._seconds.text(record.created)},{int(record.msecs):03d}"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        ids = "".join([f" {short}={value}" for short, _, value in _ids(record)])
        return f"{record.asctime} {record.levelname} {record.name}: {record.message}{ids}"


class JsonFormatter(logging.Formatter):
    """Formats a record as {"time", "level", "logger", "message"}, and what else it has.

    That is "request_id", "trace_id", "exception", or the fields of a `Message`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seconds = Seconds("%Y-%m-%dT%H:%M:%S", time.gmtime)
        self._encode = json.JSONEncoder(ensure_ascii=False).encode

    def format(self, record: logging.LogRecord) -> str:
        message = record.msg
        named = message if isinstance(message, Message) else None
        entry = {
            "time": f"{self._seconds.text(record.created)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() if named is None else named.summary(),
        }
        if named is not None:
            entry.update(named.fields())
        entry.update({name: value for _, name, value in _ids(record)})
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return self._encode(entry)


def _ids(record: logging.LogRecord) -> list[tuple[str, str, str]]:
    """Return the ids that `extra` gave to a record: the word for text, the name in JSON, the value."""
    values = record.__dict__
    known = (("id", "request_id"), ("trace", "trace_id"))
    return [(short, name, values[name]) for short, name in known if values.get(name)]


class StandardError(logging.Handler):
    """Has the lines written to standard error by a `LogWriter`."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._writer = LogWriter(STANDARD_ERROR, self._loss)

    def emit(self, record: logging.LogRecord) -> None:
        in_words = partial(self._in_words, record)
        self._writer.write(in_words if isinstance(record.msg, Message) else in_words())

    def _in_words(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # a fault of whoever logs; its line must not end the thread that writes all others
            words = f"a line at {record.pathname}:{record.lineno} cannot be written: {error!r}"
            return self.format(logging.LogRecord(record.name, logging.ERROR, "", 0, words, None, None))

    def close(self) -> None:
        """Write the last lines; `logging.shutdown` does this too, for those who leave by `os._exit`."""
        self._writer.close(LAST_SECONDS)
        super().close()

    def _loss(self, lines: int) -> str:
        words = "%d lines of the log were lost: standard error did not take them in time"
        return self.format(logging.LogRecord("contraflow.log", logging.WARNING, "", 0, words, (lines,), None))


@contextmanager
def logging_to_standard_error(level: str, form: Literal["text", "json"]) -> Iterator[None]:
    """Send all log lines and warnings to standard error; all are written when the context ends.

    Pillow's warnings are left out: they are about clients' files, and a client may send the same one all day. uvicorn
    says at `info` what the service says too, by a logger with the name "uvicorn.error".
    """
    warnings.filterwarnings("ignore", module="PIL")
    logging.captureWarnings(True)
    logging.getLogger("uvicorn").setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # no line has them
    formatter = JsonFormatter() if form == "json" else TextFormatter()
    handler = logging.NullHandler() if sys.stderr is None else StandardError(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
