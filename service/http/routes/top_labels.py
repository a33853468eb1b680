"""Keeps the most probable label of each image for the line of its request, where the settings ask for it."""

from __future__ import annotations

from collections.abc import Mapping

from service.bundles.served_model import ServedModel
from service.contract.arrays import Array
from service.http.calls.call import Call


def keep_top_labels(call: Call, model: ServedModel, outputs: Mapping[str, Array]) -> None:
    """Keep the first of each `ranking` [n, K]; nothing where the forward graph was not run."""
    if call.service.settings.log_top_label and "ranking" in outputs:
        call.context.top_labels = tuple([model.bundle.labels[first] for first in outputs["ranking"][:, 0].tolist()])
