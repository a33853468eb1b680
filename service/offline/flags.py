"""Flags that several commands without a server take."""

from __future__ import annotations

import argparse

from service.contract.execution_provider import CHOICES, checked_provider


def add_execution_provider(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--execution-provider", type=_read_provider, default="auto", metavar="WHERE", help=f"{CHOICES} (default: auto)"
    )


def _read_provider(text: str) -> str:
    try:
        return checked_provider(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def read_count(text: str) -> int:
    """Read a number of images, which is 1 or more."""
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r}: a positive whole number is needed")
    return int(text)


def read_shard(text: str) -> tuple[int, int]:
    """Read a shard: "2/8" → (2, 8)."""
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError("a shard is I/N with 1 ≤ I ≤ N")
    return int(part), int(parts)
