"""A key by its digest, and the lines of a file of keys: `sha256:<hex> NAME metrics`, the last two words optional."""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from service.settings.values import KEY_DIGEST

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
ONLY_METRICS: Final = "metrics"
"""The third word of a key that opens `/metrics` alone. It is no name: a key whose name was forgotten would open all."""


class KeysUnusable(Exception):
    """Keys cannot be read, or contradict each other. The message never shows what a line holds: it may be a key."""


class Key(NamedTuple):
    """A key that the service knows."""

    digest: bytes
    name: str = ""
    """Who calls with it; empty where nobody has said."""
    only_metrics: bool = False


def digest_of(key: bytes) -> bytes:
    """Return the SHA-256 digest of a key, without the space around it."""
    return hashlib.sha256(key.strip()).digest()


def read_digest(text: str) -> bytes:
    """Return the digest that `sha256:<hex>` says."""
    return bytes.fromhex(text.removeprefix("sha256:"))


def line_of(key: Key) -> str:
    """Return the line of a file that `read_lines` reads as `key`."""
    return " ".join(filter(None, (f"sha256:{key.digest.hex()}", key.name, ONLY_METRICS if key.only_metrics else "")))


def read_lines(content: bytes) -> tuple[Key, ...]:
    """Return the keys of a file; a word that begins with `#` begins a comment.

    Raises:
        KeysUnusable: there is no key, or a line is none; with the number of the line.
    """
    keys: list[Key] = []
    line_of_digest: dict[bytes, int] = {}
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        words = _without_comment(line.split())
        if not words:
            continue
        key = _read(words, number)
        if key.digest in line_of_digest:
            raise KeysUnusable(f"line {number}: the key of line {line_of_digest[key.digest]} again")
        line_of_digest[key.digest] = number
        keys.append(key)
    if not keys:
        raise KeysUnusable("it has no key; a line is `sha256:<64 hexadecimal digits> NAME`")
    return tuple(keys)


def _without_comment(words: list[bytes]) -> list[bytes]:
    return next((words[:at] for at, word in enumerate(words) if word.startswith(b"#")), words)


def _read(words: list[bytes], number: int) -> Key:
    digest, *rest = [word.decode("ascii", "replace") for word in words]
    name, *more = rest or [""]
    if not KEY_DIGEST.fullmatch(digest):
        raise KeysUnusable(
            f"line {number} does not begin with `sha256:` and 64 hexadecimal digits, in lower case; "
            "`printf %s KEY | sha256sum` prints them"
        )
    if name and not NAME.fullmatch(name):
        raise KeysUnusable(f"line {number}: a name has at most 64 letters, digits, `.`, `_` and `-`")
    if name == ONLY_METRICS or more not in ([], [ONLY_METRICS]):
        raise KeysUnusable(
            f"line {number}: after the digest come a name and, for a key that opens /metrics alone, the word "
            f"`{ONLY_METRICS}`"
        )
    return Key(read_digest(digest), name, bool(more))
