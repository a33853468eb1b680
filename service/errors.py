"""Everything that can go wrong with a request, as one small tree.

    ServiceError                     status
    ├── MalformedRequest             400   body or parameter that cannot be read
    │   └── EmptyBody                400
    ├── Unauthorized                 401   no key, or none that is known
    ├── NotFound                     404
    │   └── UnknownModel             404
    ├── MethodNotAllowed             405
    ├── SlowRequest                  408   the body did not arrive in time
    ├── TooLarge                     413   bytes or images over the limit
    ├── UnsupportedBody              415   a form that is not taken
    │   └── UnsupportedCoding        415   a content encoding that is not taken
    ├── ExpectationFailed            417   an expectation other than 100-continue
    ├── InvalidParameter             422   readable, but not one of the choices
    │   └── InvalidLabel             422
    ├── RateLimited                  429
    ├── HeadTooLarge                 431   of the request: its address and header fields together
    ├── InternalError                500   a fault of ours; says nothing about its inside
    │   └── RunFailed                500   the graph failed on this very image
    ├── NotImplementedHere           501   a transfer coding or method of HTTP that is not known
    ├── Unavailable                  503   try again in `retry_after` seconds
    │   ├── QueueFull                503
    │   ├── TooBusy                  503   the answer would come after the deadline
    │   ├── NotReady                 503   the graph is still loading, failed to, or its bundle is being replaced
    │   ├── LoaderEnded              503   bundles are not looked after any more
    │   ├── ShuttingDown             503
    │   └── TooManyConnections       503   and none that could be ended for a new one
    ├── DeadlineExceeded             504
    ├── VersionNotSupported          505   neither HTTP/1.1 nor HTTP/1.0
    └── ClientGone                   499   nobody is there to be answered; never sent

`service.images.errors.ImageError` is the same tree's branch for pictures; it stands in its own file
because the exporter uses it too. Both carry `status`, `slug`, `title` and `detail`. Statuses are
plain integers: nothing here knows HTTP.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

SOON: Final = 1.0
"""Seconds after which to try again, where nobody can tell how long it takes."""


class ServiceError(Exception):
    """An answer that is not the one asked for: `status`, a `slug` for programs, a `detail` for people."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "The service failed"

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        """Seconds after which trying again makes sense; None where it does not."""


class MalformedRequest(ServiceError):
    status, slug, title = 400, "malformed-request", "The request cannot be read"


class EmptyBody(MalformedRequest):
    slug, title = "empty-body", "The request has no image"


class Unauthorized(ServiceError):
    status, slug, title = 401, "unauthorized", "A valid API key is needed"


class NotFound(ServiceError):
    status, slug, title = 404, "not-found", "There is nothing at this address"


class UnknownModel(NotFound):
    slug, title = "unknown-model", "No such model"


class MethodNotAllowed(ServiceError):
    status, slug, title = 405, "method-not-allowed", "This address does not take that method"

    def __init__(self, detail: str, *, allowed: str = "") -> None:
        super().__init__(detail)
        self.allowed = allowed


class SlowRequest(ServiceError):
    status, slug, title = 408, "slow-request", "The request did not arrive in time"


class TooLarge(ServiceError):
    status, slug, title = 413, "too-large", "The request is over a limit"


class UnsupportedBody(ServiceError):
    status, slug, title = 415, "unsupported-body", "The body has a form that is not taken"


class UnsupportedCoding(UnsupportedBody):
    slug, title = "unsupported-coding", "The body has a content encoding that is not taken"


class ExpectationFailed(ServiceError):
    status, slug, title = 417, "expectation-failed", "The request expects what is not known"


class InvalidParameter(ServiceError):
    status, slug, title = 422, "invalid-parameter", "A parameter has a value that is not allowed"


class InvalidLabel(InvalidParameter):
    slug, title = "invalid-label", "The model has no such label"


class RateLimited(ServiceError):
    status, slug, title = 429, "rate-limited", "This key has used its rate"


class HeadTooLarge(ServiceError):
    status, slug, title = 431, "head-too-large", "The request's head is over the limit"


class InternalError(ServiceError):
    pass


class RunFailed(InternalError):
    slug, title = "run-failed", "The model failed on this image"


class NotImplementedHere(ServiceError):
    status, slug, title = 501, "not-implemented", "The service does not know this part of HTTP"


class Unavailable(ServiceError):
    status, slug, title = 503, "unavailable", "The service cannot take this now"


class QueueFull(Unavailable):
    slug, title = "queue-full", "The queue is full"


class TooBusy(Unavailable):
    slug, title = "too-busy", "The answer would come too late"


class NotReady(Unavailable):
    slug, title = "not-ready", "The model is not ready"


class LoaderEnded(Unavailable):
    slug, title = "loader-ended", "The service needs to be restarted"


class ShuttingDown(Unavailable):
    slug, title = "shutting-down", "The service is shutting down"


class TooManyConnections(Unavailable):
    slug, title = "too-many-connections", "There are too many connections"


class DeadlineExceeded(ServiceError):
    status, slug, title = 504, "deadline-exceeded", "The deadline has passed"


class VersionNotSupported(ServiceError):
    status, slug, title = 505, "version-not-supported", "This version of HTTP is not spoken here"


class ClientGone(ServiceError):
    status, slug, title = 499, "client-gone", "The client has gone"


def problem(error: Exception, request_id: str) -> dict[str, Any]:
    """The RFC 9457 members for `error`; one that is not ours tells nothing about itself."""
    known = (
        error if isinstance(getattr(error, "slug", None), str) else InternalError("An unexpected error; see the log.")
    )
    document: dict[str, Any] = {
        "type": f"urn:contraflow:problem:{known.slug}",  # type: ignore[attr-defined]
        "title": known.title,  # type: ignore[attr-defined]
        "status": known.status,  # type: ignore[attr-defined]
        "detail": known.detail,  # type: ignore[attr-defined]
        "request_id": request_id,
    }
    retry_after = getattr(known, "retry_after", None)
    if retry_after is not None:
        document["retry_after_ms"] = max(1, round(retry_after * 1000))
    return document
