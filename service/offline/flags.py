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
