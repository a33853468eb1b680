"""A graph on the card against float64, with TensorFloat-32 and without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bench.gpu.nets import Net
from bench.gpu.numbers.truth import Truth
from bench.gpu.part import Row, reason
from bench.gpu.sessions import opened, placement
from bench.gradients.choices import choices_of, watched
from bench.gradients.runs import Feeds
from service.contract.norms import SCALED, measure

Outputs = Mapping[str, NDArray[Any]]
KEPT_APART = {"0": "float32", "1": "tf32"}
"""Value of the option `use_tf32` → the name of its errors in a row."""


def agreement(net: Net, graph: str, images: int, device: str) -> Row:
    """Return the errors of every output, and where the nodes ran.

    Each error is given with the choices of the run that is judged, as `same`, and as `free` with float64's own. Norms
    are measured at as many scales as the service does it; float64 needs one.
    """
    model, feeds = net.models[graph], net.feeds(graph, images)
    truth = Truth(model, device)
    own = _norms(truth.run(feeds), images)
    row: Row = {"net": net.name, "graph": graph, "images": images}
    for option, word in KEPT_APART.items():
        session = opened(watched(model), device, {"use_tf32": option})
        first = _run(session, [value.name for value in session.get_outputs()], feeds)
        judged = _judged(session, [value.name for value in model.graph.output], feeds, first)
        same = _norms(truth.run(feeds, choices_of(model, first)), images)
        row[word] = {"same": errors(judged, same), "free": errors(judged, own)}
        row[f"finite {word}"] = all(bool(np.isfinite(value).all()) for value in judged.values())
        if device == "cpu":
            break  # it has no TensorFloat-32
    row["truth"] = truth.place
    try:
        row |= placement(model, feeds, device)
    except Exception as error:
        row["placement"] = reason(error)
    return row


def errors(judged: Outputs, truth: Outputs) -> dict[str, dict[str, float]]:
    """Return, for each output, its largest error relative to its largest entry and relative to each entry.

    A norm of 0 in truth is compared with the smallest normal number of float32. Feature maps are one output.
    """
    found: dict[str, dict[str, float]] = {}
    for name, value in judged.items():
        if not value.size:
            continue  # such as the bias of a net without biases
        difference = np.abs(value - truth[name])
        kind = "map" if name.startswith("map/") else name
        largest = float(difference.max() / max(float(np.abs(truth[name]).max()), np.finfo(np.float32).tiny))
        each = float((difference / np.maximum(np.abs(truth[name]), np.finfo(np.float32).tiny)).max())
        before = found.get(kind, {"largest": 0.0, "entry": 0.0})
        found[kind] = {"largest": max(largest, before["largest"]), "entry": max(each, before["entry"])}
    return found


def truths(net: Net, graph: str, images: int, device: str) -> Row:
    """Return how far float64 on the card is from float64 on the CPU, by torch both times."""
    feeds = net.feeds(graph, images)
    there, here = Truth(net.models[graph], device), Truth(net.models[graph], "cpu")
    found = errors(there.run(feeds), here.run(feeds))
    return {"net": net.name, "graph": graph, "images": images, "truth": there.place, "errors": found}


def _judged(session: onnxruntime.InferenceSession, names: Sequence[str], feeds: Feeds, first: Outputs) -> Outputs:
    """Return the named outputs, norms in place of squares, as the service measures them.

    `first` are the outputs of a run at scale 1. It is not run again: another run need not round alike.
    """

    def run(scale: NDArray[np.float32]) -> Outputs:
        if (scale == 1).all():
            return {name: first[name] for name in names}
        return _run(session, names, {**feeds, "cotangent_scale": scale})

    return measure(run, len(feeds["input"])) if "cotangent_scale" in feeds else run(np.ones(1, np.float32))


def _norms(outputs: Outputs, samples: int) -> Outputs:
    """Return float64's outputs in the form of `measure`: what belongs to the batch is of the mean loss."""
    results: dict[str, NDArray[Any]] = {}
    for name, value in outputs.items():
        row = SCALED.get(name)
        if row is None:
            results[name] = value
        else:
            norms = np.sqrt(value) if row.kind == "square" else value
            results[row.offered_as or name] = norms if row.has_samples else norms / samples
    return results


def _run(session: onnxruntime.InferenceSession, names: Sequence[str], feeds: Feeds) -> Outputs:
    return dict(zip(names, session.run(list(names), dict(feeds)), strict=True))
