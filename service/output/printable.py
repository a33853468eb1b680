"""Names and reasons that strangers wrote, made fit for logs, JSON and metrics."""

from __future__ import annotations

import os

MOST_CHARACTERS = 300


def printable(text: str, most: int = MOST_CHARACTERS) -> str:
    """`text` on one line of valid Unicode: bytes that are no UTF-8, line breaks and other controls are escaped.

    Args:
        text: perhaps a file name as Python gives it, with lone surrogates for bytes that are no UTF-8.
        most: characters after which it is cut.
    """
    try:
        text = os.fsencode(text).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that no file name has
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if not text.isprintable():
        text = "".join([c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text])
    return text if len(text) <= most else text[: most - 1] + "…"
