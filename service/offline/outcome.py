"""The outcome of `check` at one path: a verdict with the images that it rests on, or why there is none."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from service.diagnostics.schemas.base import DiagnosticSchema
from service.diagnostics.schemas.gradients import UnlikeItself
from service.diagnostics.schemas.verdict import Verdict
from service.diagnostics.words import plural

HEALTHY, NOT_HEALTHY, UNUSABLE = 0, 1, 2
"""Exit statuses."""
MOST_NAMED: Final = 3
"""Files that a sentence names one by one."""


class UndecodableFile(DiagnosticSchema):
    """An image file that could not be used, and why."""

    path: str
    reason: str


class LookedAt(DiagnosticSchema):
    """The images that a verdict rests on."""

    count: int
    height: int
    width: int
    folder: str | None = Field(description="where they are from; null for pictures that were made for the check")
    undecodable: list[UndecodableFile] = Field(default=[], description="files that were left out")

    @property
    def in_words(self) -> str:
        """The number of images, and where they are from."""
        if self.folder is None:
            made = f"{plural(self.count, 'picture')} made for this check, {self.height} × {self.width} pixels"
            return f"{made} (`--data FOLDER` takes your own)"
        if not self.undecodable:
            return f"{plural(self.count, 'image')} of {self.folder}"
        named = "; ".join(f"{one.path}: {one.reason}" for one in self.undecodable[:MOST_NAMED])
        more = "; …" if len(self.undecodable) > MOST_NAMED else ""
        left_out = f"{plural(len(self.undecodable), 'file')} could not be decoded ({named}{more})"
        return f"{plural(self.count, 'image')} of {self.folder}; {left_out}"


class Judged(DiagnosticSchema):
    """The verdict on one model."""

    path: str = Field(description="as it was named")
    model: str
    version: str
    bundle: str = Field(description="first 12 hexadecimal digits of the sha256 of bundle.json")
    images: LookedAt
    verdict: Verdict
    unlike_itself: UnlikeItself | None = Field(
        default=None,
        description="comparison with the bundle's record of its training images; null without a record, and for "
        "pictures that were made",
    )
    notes: list[str] = Field(default=[], description="what else a reader must know, in sentences")

    @property
    def exit_status(self) -> int:
        """0 if the model is healthy and everything was looked for that can be in it, else 1."""
        return HEALTHY if self.verdict.state == "healthy" and not self.verdict.not_looked_for else NOT_HEALTHY

    @property
    def name(self) -> str:
        """Name and version of the model."""
        return f"{self.model}@{self.version}"

    @property
    def state(self) -> str:
        """The state of the verdict, with a reservation where not everything was looked for."""
        if self.verdict.state == "healthy" and self.verdict.not_looked_for:
            return "healthy, as far as was looked"
        return self.verdict.state


class Unusable(DiagnosticSchema):
    """A path at which there is no model that can be judged."""

    path: str
    error: str

    @property
    def exit_status(self) -> int:
        return UNUSABLE


Outcome = Judged | Unusable
