"""Why an image is refused."""

from __future__ import annotations

from service.contract.errors import ReportedError


class ImageError(ReportedError):
    """An image that cannot be used."""

    status, slug, title = 422, "undecodable-image", "The image cannot be decoded"


class EmptyImage(ImageError):
    status, slug, title = 400, "empty-image", "The image has no bytes"


class UnknownFormat(ImageError):
    status, slug, title = 415, "unknown-image-format", "The bytes are no image of a known format"


class UndecodableImage(ImageError):
    pass


class ImageTooLarge(ImageError):
    status, slug, title = 413, "image-too-large", "The image has too many pixels"
