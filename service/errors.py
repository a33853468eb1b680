"""Everything that can go wrong with a request, as one small tree.

    ReportedError                        contract/errors.py: status, slug, title, detail
    ├── ImageError                       images/errors.py: the branch for images, which the exporter uses too
    └── ServiceError                     status
        ├── MalformedRequest             400   body or parameter that cannot be read
        │   └── EmptyBody                400
        ├── Unauthorized                 401   no API key, or one that is not known
        ├── NotFound                     404
        │   └── UnknownModel             404
        ├── MethodNotAllowed             405
        ├── SlowRequest                  408   the body did not arrive in time
        ├── TooLarge                     413   bytes or images over the limit
        ├── UnsupportedBody              415   a form that is not supported
        │   └── UnsupportedCoding        415   a content coding that is not supported
        ├── ExpectationFailed            417   an expectation other than 100-continue
        ├── InvalidParameter             422   readable, but not one of the choices
        │   ├── InvalidLabel             422
        │   └── NotExplainable           422   a model, or one of its layers, without such an explanation
        ├── RateLimited                  429
        ├── HeadTooLarge                 431   address and header fields of the request together
        ├── InternalError                500   a fault of ours; says nothing about its inside
        │   └── RunFailed                500   the graph failed on this very image
        ├── NotImplementedHere           501   a transfer coding or method of HTTP that is not known
        ├── Unavailable                  503   try again in `retry_after` seconds
        │   ├── QueueFull                503
        │   ├── TooBusy                  503   the answer would come after the deadline
        │   ├── NotReady                 503   the graph is loading, failed to load, or its bundle is being replaced
        │   ├── ShortOfMemory            503   a run that needs more memory than there is now
        │   ├── LoaderEnded              503   the service no longer follows the folder of bundles
        │   ├── ShuttingDown             503
        │   └── TooManyConnections       503   and none of the others could be closed
        ├── DeadlineExceeded             504
        ├── VersionNotSupported          505   neither HTTP/1.1 nor HTTP/1.0
        └── ClientGone                   499   the client has closed its connection; never sent

Statuses are plain integers: nothing here knows HTTP.
"""

from __future__ import annotations

from typing import Any, Final

from service.contract.errors import ReportedError

RETRY_AFTER: Final = 1.0
"""Seconds after which to try again what is only unavailable for now, unless something better is known."""


class ServiceError(ReportedError):
    """An error of the service; images have `ImageError`."""


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
        """`allowed`: value of the answer's `Allow`, e.g. "GET, HEAD"."""
        super().__init__(detail)
        self.allowed = allowed


class SlowRequest(ServiceError):
    status, slug, title = 408, "slow-request", "The request did not arrive in time"


class TooLarge(ServiceError):
    status, slug, title = 413, "too-large", "The request is over a limit"


class UnsupportedBody(ServiceError):
    status, slug, title = 415, "unsupported-body", "The form of the body is not supported"


class UnsupportedCoding(UnsupportedBody):
    slug, title = "unsupported-coding", "The content encoding of the body is not supported"


class ExpectationFailed(ServiceError):
    status, slug, title = 417, "expectation-failed", "The request has an expectation that is not supported"


class InvalidParameter(ServiceError):
    status, slug, title = 422, "invalid-parameter", "A parameter has a value that is not allowed"


class InvalidLabel(InvalidParameter):
    slug, title = "invalid-label", "The model has no such label"


class NotExplainable(InvalidParameter):
    slug, title = "not-explainable", "The model has no such explanation"


class RateLimited(ServiceError):
    status, slug, title = 429, "rate-limited", "This key has used up its rate"


class HeadTooLarge(ServiceError):
    status, slug, title = 431, "head-too-large", "The request's head is over the limit"


class InternalError(ServiceError):
    pass


class RunFailed(InternalError):
    slug, title = "run-failed", "The model failed on this image"


class NotImplementedHere(ServiceError):
    status, slug, title = 501, "not-implemented", "The service does not support this part of HTTP"


class Unavailable(ServiceError):
    status, slug, title = 503, "unavailable", "The service cannot answer this now"

    def __init__(self, detail: str, *, retry_after: float | None = RETRY_AFTER) -> None:
        super().__init__(detail, retry_after=retry_after)


class QueueFull(Unavailable):
    slug, title = "queue-full", "The queue is full"


class TooBusy(Unavailable):
    slug, title = "too-busy", "The answer would come too late"


class NotReady(Unavailable):
    slug, title = "not-ready", "The model is not ready"


class ShortOfMemory(Unavailable):
    slug, title = "short-of-memory", "There is not enough memory"


class LoaderEnded(Unavailable):
    slug, title = "loader-ended", "The service needs to be restarted"


class ShuttingDown(Unavailable):
    slug, title = "shutting-down", "The service is shutting down"


class TooManyConnections(Unavailable):
    slug, title = "too-many-connections", "There are too many connections"


class DeadlineExceeded(ServiceError):
    status, slug, title = 504, "deadline-exceeded", "The deadline has passed"


class VersionNotSupported(ServiceError):
    status, slug, title = 505, "version-not-supported", "This version of HTTP is not supported"


class ClientGone(ServiceError):
    status, slug, title = 499, "client-gone", "The client has gone"


def problem(error: Exception, request_id: str) -> dict[str, Any]:
    """Return the RFC 9457 problem document of an error. An error that is not ours tells nothing about itself."""
    known = error if isinstance(error, ReportedError) else InternalError("An unexpected error; see the log.")
    document: dict[str, Any] = {
        "type": f"urn:contraflow:problem:{known.slug}",
        "title": known.title,
        "status": known.status,
        "detail": known.detail,
        "request_id": request_id,
    }
    if known.retry_after is not None:
        document["retry_after_ms"] = max(1, round(known.retry_after * 1000))
    return document
