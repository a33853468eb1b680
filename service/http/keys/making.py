"""The command `contraflow key`: makes a key, shows it once, and prints its line for the file of keys."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Sequence
from typing import Final

from service.http.keys.key import NAME, ONLY_METRICS, Key, digest_of, line_of
from service.output.console import remark

PREFIX: Final = "cf_"
"""Begins every key that we make, so that scanners for secrets can know one."""

RANDOM_BYTES: Final = 32


def main(arguments: Sequence[str], program: str) -> int:
    """Print the line of a new key to standard output, for `>>`, and the key itself to standard error."""
    reader = parser(program)
    given = reader.parse_args(arguments)
    if (given.name or given.only_metrics) and (not NAME.fullmatch(given.name) or given.name == ONLY_METRICS):
        reader.error(f"NAME has at most 64 letters, digits, `.`, `_` and `-`, and is not `{ONLY_METRICS}`")
    key = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    print(line_of(Key(digest_of(key.encode()), given.name, given.only_metrics)), flush=True)
    remark(f"the key, shown once: {key}")
    return 0


def parser(program: str) -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog=program,
        description="Make an API key. Standard output gets its line for the file of --api-keys-file, which holds its "
        "SHA-256 digest; standard error gets the key itself, once. It is kept nowhere.",
        epilog=f"example: {program} alice >> api-keys",
        allow_abbrev=False,
    )
    top.add_argument("name", nargs="?", default="", metavar="NAME", help="who calls with it, for the log of requests")
    top.add_argument("--only-metrics", action="store_true", help="the key opens /metrics alone; for Prometheus")
    return top
