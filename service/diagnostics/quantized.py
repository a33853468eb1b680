"""The sentence of a diagnosis on an int8 model: its float network answers; where /predict answers otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from service.contract.arrays import Array
from service.contract.bundle_schema import Bundle
from service.diagnostics.losses import predicted_by
from service.diagnostics.measurement import RunGraph
from service.diagnostics.schemas.base import DiagnosticSchema, predicted_names

MOST_NAMED: Final = 6
"""Images that a sentence names one by one."""


async def about_network(
    run: RunGraph, bundle: Bundle, images: Array, samples: Sequence[DiagnosticSchema]
) -> str | None:
    """Return the sentence that a diagnosis of `images` begins with; None for a model of floats.

    It says that the float network answers, and names the images for which that predicts otherwise, by the answer's
    `samples`, than /predict answers. The forward graph runs only where it is another network.
    """
    if bundle.quantized is None:
        return None
    said = bundle.quantized.of_network
    if not bundle.quantized.has_two_networks:
        return said
    served = await served_predictions(run, bundle, images)
    predicted = map(predicted_names, samples)
    other = [
        f"image {row}: {_quoted(mine)} by /predict, {_quoted(network)} by the float network"
        for row, (mine, network) in enumerate(zip(served, predicted, strict=True), 1)
        if set(mine) != set(network)
    ]
    if not other:
        return said
    more = f", and {len(other) - MOST_NAMED} more" if len(other) > MOST_NAMED else ""
    return f"{said}. The two disagree here on {len(other)} of {len(served)}: {'; '.join(other[:MOST_NAMED])}{more}"


async def served_predictions(run: RunGraph, bundle: Bundle, images: Array) -> list[list[str]]:
    """Return the labels that /predict answers for each image: one class, or those above one half."""
    return predicted_by(bundle, (await run("forward", images))["logits"])


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels)) or "none"
