"""Sets the precision of constants that a network makes while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def default_precision(dtype: torch.dtype) -> Iterator[None]:
    """Have torch make floating numbers in `dtype` inside the block, unless it is told another."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)
