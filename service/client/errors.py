"""The error that a program meets which uses a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from service.contract.errors import ReportedError


class ContraflowError(Exception):
    """A model, an image or an option that cannot be used, or a service that does not answer; the message says why.

    Attributes:
        slug: a word by which programs can tell errors apart, e.g. "undecodable-image"; the same for a model in this
            process and for a service. None where a service gave no answer that says one.
    """

    def __init__(self, message: str, slug: str | None = None) -> None:
        super().__init__(message)
        self.slug = slug


@contextmanager
def reported() -> Iterator[None]:
    """Turn what the service would report of a request into a `ContraflowError`."""
    try:
        yield
    except ReportedError as error:
        raise ContraflowError(error.detail, error.slug) from None
