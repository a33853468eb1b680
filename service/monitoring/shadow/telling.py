"""What is known of a shadow, as the answer of `GET /diagnostics/shadow`."""

from __future__ import annotations

from typing import Final

from service.diagnostics.compare import moved_in_words
from service.diagnostics.schemas.shadow import ComparedAnswers, ComparedLayers, Shadow
from service.diagnostics.words import percent, plural
from service.monitoring.shadow.answers import Answers
from service.monitoring.shadow.layers import WINDOW as LAYERS_WINDOW
from service.monitoring.shadow.record import Record
from service.monitoring.shadow.shadowing import Shadowing

NO_TRUTH: Final = (
    "Live images come without their true labels, so these are disagreements: they do not say which of the two is "
    "right. `contraflow check NEW --against OLD --data DIR` counts what was right before and is wrong now."
)
MOST_NAMED: Final = 5
"""Labels of one version alone that a note lists by name."""


def told(shadowing: Shadowing) -> Shadow:
    """Return what is known now."""
    shadowing.look()
    record, reason = shadowing.record, shadowing.reason
    nothing = Answers().of_all()
    every = record.answers.of_all() if record else nothing
    layers = record.layers.found() if record else None
    return Shadow(
        state="waiting" if reason else "comparing",
        reason=reason,
        model=record.pair.names[0] if record else None,
        shadow=shadowing.name,
        share=shadowing.share,
        since=record.since.strftime("%Y-%m-%dT%H:%M:%SZ") if record else None,
        all=every,
        window=record.answers.of_last() if record else nothing,
        layers=layers,
        last_failure=record.last_failure if record else None,
        notes=[NO_TRUTH, *(_notes(record, shadowing.gradient_share) if record else ())],
        because=_because(every, layers) if record else reason or "",
    )


def _because(every: ComparedAnswers, layers: ComparedLayers | None) -> str:
    if every.disagreements is None:
        return "No image has been compared yet."
    one = every.disagreements
    told = (
        f"The two give other labels for {one.count:,} of {plural(one.of, 'image')} ({percent(one.share)}, "
        f"95 % interval {percent(one.low)} to {percent(one.high)})"
    )
    return f"{told}; {moved_in_words(layers.differences)}." if layers else f"{told}."


def _notes(record: Record, gradient_share: float) -> list[str]:
    pair, notes = record.pair, []
    for name, other, labels in zip(pair.names, pair.names[::-1], pair.unshared(), strict=True):
        if labels:
            named = ", ".join(labels[:MOST_NAMED]) + (", …" if len(labels) > MOST_NAMED else "")
            notes.append(f"{name} has {plural(len(labels), 'label')} that {other} does not have: {named}.")
    if not gradient_share:
        notes.append("No gradients are compared: the setting shadow_gradients is 0.")
    elif lacking := [
        name for name, bundle in zip(pair.names, (pair.model, pair.shadow), strict=True)
        if "weight_norms" not in bundle.graphs
    ]:  # fmt: skip
        notes.append(f"No gradients are compared: there is no gradient graph of {' and '.join(lacking)}.")
    else:
        notes.append(
            f"Layers are compared on {percent(gradient_share)} of the images, the last {LAYERS_WINDOW} of those, "
            "each with the label that the model predicts."
        )
    if record.layers_failure:
        notes.append(f"Gradients could not be measured: {record.layers_failure}")
    return notes
