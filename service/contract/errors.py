"""The shape of every error that a client is told about."""

from __future__ import annotations

from typing import ClassVar


class ReportedError(Exception):
    """An error with the members of an RFC 9457 problem document.

    A subclass sets `status` (of HTTP, as a plain integer), `slug` (for programs) and `title` (what all its
    instances have in common). `detail` says what happened this time, in words for people.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "The service failed"

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        """`retry_after`: seconds after which it makes sense to try again; None where it does not."""
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
