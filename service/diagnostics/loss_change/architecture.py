"""Whether two bundles are versions of one architecture, so that a line between their weights means something."""

from __future__ import annotations

from collections.abc import Sequence

from service.contract.bundle_schema import Bundle, Layer
from service.diagnostics.words import plural


def why_not_one(old: Bundle, new: Bundle) -> str | None:
    """Return why the change of loss between two bundles cannot be divided among layers; None if it can."""
    for called, bundle in (("OLD", old), ("NEW", new)):
        if "loss_slopes" not in bundle.graphs:
            return f"the bundle of {called} has no graph loss_slopes: import it again, or see its notes"
    if (old.label_kind, old.labels) != (new.label_kind, new.labels):
        return "the two have other labels, or the same in another order"
    if old.input != new.input:
        fields = [name for name in type(old.input).model_fields if getattr(old.input, name) != getattr(new.input, name)]
        return f"the two prepare images in different ways ({', '.join(fields)})"
    first, second = old.graphs["loss_slopes"], new.graphs["loss_slopes"]
    if first.structure == second.structure:
        return None
    return f"the two are not of one architecture: {_difference(old.layers, new.layers)}"


def _difference(old: Sequence[Layer], new: Sequence[Layer]) -> str:
    if len(old) != len(new):
        return f"OLD has {plural(len(old), 'layer')} and NEW {len(new)}"
    for first, second in zip(old, new, strict=True):
        if (first.operator, first.shape) != (second.operator, second.shape):
            return f"OLD's layer {first.name} is {_described(first)} and NEW's {second.name} {_described(second)}"
    return "their layers are alike, but what lies between them differs, or a number that is not trained"


def _described(layer: Layer) -> str:
    return f"{layer.operator} {'×'.join(map(str, layer.shape))}"
