"""Why an image is not taken."""

from __future__ import annotations

from typing import ClassVar


class ImageError(Exception):
    """An image that cannot be taken; the same four attributes as the service's own errors."""

    status: ClassVar[int] = 422
    slug: ClassVar[str] = "undecodable-image"
    title: ClassVar[str] = "The image cannot be decoded"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class EmptyImage(ImageError):
    status, slug, title = 400, "empty-image", "The image has no bytes"


class UnknownFormat(ImageError):
    status, slug, title = 415, "unknown-image-format", "The bytes are no image of a known format"


class UndecodableImage(ImageError):
    pass


class ImageTooLarge(ImageError):
    status, slug, title = 413, "image-too-large", "The image has too many pixels"
