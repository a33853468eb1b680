"""Gradients of any size and batches of any size: what is measured must be finite, and not depend on either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.gpu.nets import Net
from bench.gpu.numbers.agreement import errors
from bench.gpu.part import Row
from bench.gpu.sessions import opened
from service.contract.norms import SCALED, measure

EXPONENTS = (-140, -100, -60, 0, 40, 60, 100)
"""Gradients are made 2 to this power times as large; 2⁻¹⁴⁰ itself is below float32's normal numbers."""


def scales(net: Net, graph: str, images: int, device: str) -> Row:
    """Return, for each factor on the gradients, how far the measured norms are from the factor times those of 1.

    The factor multiplies `cotangent_scale` before the graph sees it, so that the service's search for a scale at
    which float32 holds every square is tried on the card. `finite` says that nothing was NaN or infinite.
    """
    session, feeds = opened(net.models[graph], device), net.feeds(graph, images)
    names = [value.name for value in session.get_outputs()]

    def measured(factor: float) -> dict[str, NDArray[Any]]:
        def run(scale: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
            with np.errstate(over="ignore", under="ignore"):
                given = (scale.astype(np.float64) * factor).astype(np.float32)
            return dict(zip(names, session.run(names, {**feeds, "cotangent_scale": given}), strict=True))

        return measure(run, images)

    offered = {output.offered_as for output in SCALED.values()}
    usual = {name: value for name, value in measured(1.0).items() if name in offered}
    found = {}
    for exponent in EXPONENTS:
        norms = {name: value for name, value in measured(2.0**exponent).items() if name in offered}
        wanted = {name: value * 2.0**exponent for name, value in usual.items()}
        worst = max((error["largest"] for error in _relative(norms, wanted).values()), default=0.0)
        found[str(exponent)] = {"finite": all(bool(np.isfinite(v).all()) for v in norms.values()), "error": worst}
    return {"net": net.name, "graph": graph, "images": images, "factors": found}


def batches(net: Net, graph: str, sizes: Sequence[int], device: str) -> Row:
    """Return, for each batch size, how far the first sample's answer is from its answer in the first batch size."""
    session = opened(net.models[graph], device)
    names = [value.name for value in session.get_outputs() if not value.name.startswith("batch_")]
    first: dict[str, NDArray[Any]] | None = None
    found = {}
    for size in sizes:
        answer = session.run(names, dict(net.feeds(graph, size)))
        one = {name: value[:1].astype(np.float64) for name, value in zip(names, answer, strict=True)}
        first = first or one
        found[str(size)] = {
            "finite": all(bool(np.isfinite(value).all()) for value in answer),
            "error": max(error["largest"] for error in errors(one, first).values()),
        }
    return {"net": net.name, "graph": graph, "sizes": found}


def _relative(norms: dict[str, NDArray[Any]], wanted: dict[str, NDArray[Any]]) -> dict[str, dict[str, float]]:
    """Return the errors of norms at any scale: `errors` compares at about 1."""
    tops = {name: float(np.abs(value).max()) or 1.0 for name, value in wanted.items() if value.size}
    return errors({n: norms[n] / top for n, top in tops.items()}, {n: wanted[n] / top for n, top in tops.items()})
