"""From an answer to its plot."""

from __future__ import annotations

from service.diagnostics.drawing.features import draw_features
from service.diagnostics.drawing.json_answers import NO_FAMILIES, Families
from service.diagnostics.drawing.layers import draw_comparison, draw_gradients
from service.diagnostics.drawing.scores import draw_scores
from service.diagnostics.drawing.shattering import draw_shattering
from service.diagnostics.schemas.base import DiagnosticSchema
from service.diagnostics.schemas.features import Features
from service.diagnostics.schemas.gradients import Comparison, Gradients
from service.diagnostics.schemas.scores import Scores
from service.diagnostics.schemas.shattering import Shattering


def plot(answer: DiagnosticSchema, families: Families = NO_FAMILIES) -> str:
    """Return the plot of an answer as an SVG document; `families` gives its models their colours."""
    body = answer.model_dump(mode="json")
    match answer:
        case Gradients():
            return draw_gradients(body, families)
        case Comparison():
            return draw_comparison(body, families)
        case Shattering():
            return draw_shattering(body, families)
        case Scores():
            return draw_scores(body)
        case Features():
            return draw_features(body)
        case _:
            raise TypeError(f"there is no plot of {type(answer).__name__}")
