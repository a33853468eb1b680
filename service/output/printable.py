"""Makes text that strangers wrote fit for logs, JSON and metrics."""

from __future__ import annotations

import os

MOST_CHARACTERS = 300


def printable(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return `text` on one line of valid Unicode, with control characters and bytes that are not UTF-8 escaped.

    Args:
        text: may be a file name as Python returns it, with lone surrogates for bytes that are not UTF-8.
        most: most characters of the result; a longer text is cut.
    """
    if len(text) <= most and text.isascii() and text.isprintable():
        return text
    try:
        text = os.fsencode(text).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that cannot come from a file name
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if not text.isprintable():
        text = "".join([c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text])
    return text if len(text) <= most else text[: most - 1] + "…"
