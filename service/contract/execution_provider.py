"""Which processor is asked for: one definition for the settings, the commands and the Python client."""

from __future__ import annotations

import re
from typing import Final

CHOICES: Final = "auto, cpu, cuda, or cuda:N for the GPU with the number N"

WANTED: Final = re.compile(r"auto|cpu|cuda(?::(\d{1,3}))?", re.ASCII)


def checked_provider(text: str) -> str:
    """Return the text if it names a processor, e.g. "auto" or "cuda:1".

    Raises:
        ValueError: it names none.
    """
    if not WANTED.fullmatch(text):
        raise ValueError(f"{text!r} is none of {CHOICES}")
    return text


def wanted_gpu(text: str) -> int:
    """Return the number of the GPU that `text` asks for; 0 where it gives none, as CUDA counts from 0."""
    found = WANTED.fullmatch(text)
    return int(found[1]) if found and found[1] else 0
