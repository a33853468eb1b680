"""Fields that the answers of all diagnostics have in common."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

Number = Annotated[float, WithJsonSchema({"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]})]
"""A number; one that is not finite is written as the string "NaN", "Infinity" or "-Infinity"."""


class DiagnosticSchema(BaseModel):
    """An answer of `/diagnostics/…` or a part of one. Immutable."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")


class Explained(DiagnosticSchema):
    """A finding in words for people: the same in JSON, on the page, in the report and on the command line."""

    because: str = Field(description="what was seen: the number, and its threshold in words")
    meaning: str = Field(description="what that means for the model")
    advice: list[str] = Field(description="what to try, the likeliest first; empty where there is nothing to do")
    link: str = Field(
        description="the section of the guide that shows it measured: an address below that of the service; in the "
        "repository, `docs/reference/verdicts.md`"
    )


LABELS_BETWEEN: Final = " | "
"""Stands between the independent labels of one image in a table."""


def predicted_names(sample: DiagnosticSchema) -> list[str]:
    """Return the labels that the network predicts for a sample: one class, or any number of independent labels."""
    several: list[str] | None = getattr(sample, "predicted_labels", None)
    return [getattr(sample, "predicted_label")] if several is None else several  # noqa: B009  (no class has both)


class AnsweredBy(DiagnosticSchema):
    """The fields that begin every answer of one model."""

    model: str = Field(description="name of the model that answered")
    version: str = Field(description="its version: digits")
    bundle: str = Field(description="first 12 hexadecimal digits of the sha256 of bundle.json")
    execution_provider: str = Field(description="where it ran: CUDAExecutionProvider or CPUExecutionProvider")
    quantized: str | None = Field(
        default=None,
        description="for an int8 model, a sentence: that its float network answered, and how much that differs from "
        "/predict; null for other models",
    )
    request_id: str = Field(description="of this request: the caller's X-Request-Id, or one of our own")
