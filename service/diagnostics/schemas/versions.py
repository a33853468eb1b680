"""Schemas of what changed from one version of a model to the next."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.diagnostics.schemas.base import DiagnosticSchema, Number


class Share(DiagnosticSchema):
    """A share of images that was counted, with Wilson's 95 % interval."""

    count: int = Field(description="images that were counted")
    of: int = Field(description="images in all")
    share: float = Field(description="count / of, 0 to 1")
    low: float = Field(description="lower end of the 95 % interval, 0 to 1")
    high: float = Field(description="upper end of the 95 % interval, 0 to 1")


class Difference(DiagnosticSchema):
    """A difference of two numbers, now less before, with a 95 % interval."""

    value: Number = Field(description="now less before")
    low: Number = Field(description="lower end of the 95 % interval")
    high: Number = Field(description="upper end of the 95 % interval")


class McNemar(DiagnosticSchema):
    """McNemar's test of whether as many images became wrong as became right."""

    p_value: float = Field(description="two-sided: how often chance alone gives so unequal numbers, 0 to 1")
    method: Literal["exact", "chi-square"] = Field(
        description="exact: the binomial test, up to 1,000 images that changed; chi-square: with continuity correction"
    )


class FlipsFound(DiagnosticSchema):
    """Right and wrong answers of two versions on the same labelled images."""

    images: int = Field(description="labelled images that both versions answered")
    accuracy_before: Share = Field(description="images that the version before is right about")
    accuracy_now: Share = Field(description="images that the version now is right about")
    accuracy_change: Difference = Field(description="of the accuracy; the interval is Agresti and Min's for pairs")
    negative: Share = Field(description="negative flips: right before, wrong now")
    positive: Share = Field(description="positive flips: wrong before, right now")
    mcnemar: McNemar = Field(description="whether the two accuracies differ by more than chance")


class CalibrationFound(DiagnosticSchema):
    """The expected calibration error of two versions, in 15 bins of equal width."""

    before: Number = Field(description="error of the version before, 0 to 1")
    now: Number = Field(description="error of the version now, 0 to 1")
    change: Difference = Field(description="of the error; the interval is from 200 resamplings of the images")
