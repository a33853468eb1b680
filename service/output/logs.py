"""Log lines: text for people, or one JSON object each for programs."""

from __future__ import annotations

import json
import logging
import time
import warnings
from typing import Literal


class JsonFormatter(logging.Formatter):
    """Formats a record as {"time", "level", "logger", "message"}, with "request_id" and "exception" if it has them."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request_id = getattr(record, "request_id", None)
        if request_id is not None:
            entry["request_id"] = request_id
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up_logging(level: str, form: Literal["text", "json"]) -> None:
    """Send all log lines to standard error.

    Pillow's warnings are left out: they are about clients' files, and a client may send the same one all day.
    """
    warnings.filterwarnings("ignore", module="PIL")
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
