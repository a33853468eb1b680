"""The whole answer of `POST /diagnostics/explain`, for whoever can run a model's graphs: the service or a program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from service.contract.arrays import Array, Float64
from service.contract.bundle_schema import Bundle
from service.contract.label_kinds import kind_called
from service.diagnostics.explanation.asked import Asked, one_label_each
from service.diagnostics.explanation.evidence import Evidence
from service.diagnostics.explanation.maps import as_map, at_picture_size, place_of_largest, positive_share, shortened
from service.diagnostics.explanation.methods import evidence
from service.diagnostics.explanation.sentences import MEANINGS, what_was_seen
from service.diagnostics.explanation.steps import Fitting
from service.diagnostics.losses import predicted_sets
from service.diagnostics.measurement import RunToLayer
from service.diagnostics.quantized import about_network
from service.diagnostics.schemas.explanation import (
    Explanations,
    ImageExplanation,
    Method,
    SampleExplanation,
    SampleExplanations,
    SampleLabelsExplanation,
)

THE_PICTURE: Final = "the picture"


async def answer_explanations(
    run: RunToLayer,
    bundle: Bundle,
    answered_by: Mapping[str, Any],
    pixels: Array,
    labels: NDArray[np.int64],
    asked: Asked,
    fitting: Fitting | None = None,
) -> Explanations:
    """Explain one label of each image.

    Args:
        answered_by: the fields of `AnsweredBy`; `quantized` is said here.
        pixels: uint8 [N, h, w, c].
        labels: as `label_array` gives them, by the bundle's label kind; −1 for as predicted.
        fitting: how many images there is time for; None without a deadline.

    Raises:
        NotExplainable, InvalidParameter, InvalidLabel: the model has no such explanation.
        NoTime: there is no time for so many steps.
    """
    found = await evidence(run, bundle, pixels, one_label_each(bundle, labels), asked, fitting)
    samples = _samples(bundle, found, asked.method)
    return Explanations(
        **{**answered_by, "quantized": await about_network(run, bundle, pixels, samples)},
        method=asked.method,
        layer=None if found.layer is None else bundle.layers[found.layer].name,
        steps=None if found.steps is None else found.steps.count,
        steps_note=None if found.steps is None else found.steps.note,
        samples=samples,
        meaning=MEANINGS[asked.method],
        notes=_notes(bundle, found),
    )


def shown_map(values: Float64, method: Method) -> Float64:
    """Return the map of a method from its evidence: grad_cam leaves out what is below 0."""
    return np.maximum(values, 0) if method == "grad_cam" else values


def _samples(bundle: Bundle, found: Evidence, method: Method) -> SampleExplanations:
    explained = [_explained(bundle, found, method, row) for row in range(len(found.values))]
    if bundle.label_kind == "independent":
        return [
            SampleLabelsExplanation(**dict(one), predicted_labels=names, predicted_indices=indices)
            for one, (names, indices) in zip(explained, predicted_sets(bundle, found.logits), strict=True)
        ]
    return [
        SampleExplanation(**dict(one), predicted_label=bundle.labels[index], predicted_index=index)
        for one, index in zip(explained, np.argmax(found.logits, axis=1).tolist(), strict=True)
    ]


def _explained(bundle: Bundle, found: Evidence, method: Method, row: int) -> ImageExplanation:
    values, label = found.values[row], int(found.labels[row])
    share = None if method == "smooth_grad" else positive_share(values)
    where = THE_PICTURE if found.layer is None else bundle.layers[found.layer].name
    own, size = shown_map(values, method), (bundle.input.height, bundle.input.width)
    finite = bool(np.isfinite(values).all())
    seen = what_was_seen(
        method, bundle.labels[label], where, share, place_of_largest(own), _instead(bundle, found, row), finite=finite
    )
    probabilities = kind_called(bundle.label_kind).probabilities(found.logits[row : row + 1])
    return ImageExplanation(
        label=bundle.labels[label],
        index=label,
        logit=float(found.logits[row, label]),
        probability=float(probabilities[0, label]),
        map=as_map(own),
        picture_map=None if own.shape == size else as_map(shortened(at_picture_size(own, *size))),
        positive_share=share,
        completeness=None if found.completeness is None else found.completeness[row],
        because=seen,
    )


def _instead(bundle: Bundle, found: Evidence, row: int) -> str | None:
    """Return what the network predicts where that is not the label, in words; else None."""
    logits, label = found.logits[row : row + 1], int(found.labels[row])
    if bundle.label_kind == "exclusive":
        best = int(np.argmax(logits))
        return None if best == label else bundle.labels[best]
    names, indices = predicted_sets(bundle, logits)[0]
    return None if label in indices else ", ".join(names) or "none of its labels"


def _notes(bundle: Bundle, found: Evidence) -> list[str]:
    if found.layer is None:
        return []
    height, width = found.values.shape[1:]
    rows, columns = bundle.input.height / height, bundle.input.width / width
    return [
        f"The map has {height} × {width} positions, each in the place of {rows:.3g} × {columns:.3g} pixels of the "
        "network's input; what lies between them is interpolated."
    ]
