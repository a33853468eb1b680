"""Normalization by stored statistics, and by those of the sample itself."""

from __future__ import annotations

from tests.export.gradient.cases.case import Case, case, w

NORMALIZATION: list[Case] = [
    case("BatchNormalization", (3, 4, 5), "x", w(3), w(3), w(3), w(3, seed=1, low=0.5, high=2.0), epsilon=1e-3),
    case("BatchNormalization", (3,), "x", w(3), w(3), w(3), w(3, seed=1, low=0.5, high=2.0), note="no positions"),
    case("InstanceNormalization", (3, 4, 5), "x", w(3), w(3), epsilon=1e-2),
    case("InstanceNormalization", (3, 6), "x", w(3), w(3), note="one axis"),
    case("GroupNormalization", (6, 2, 3), "x", w(2), w(2), num_groups=2),
    case("GroupNormalization", (4, 3), "x", w(4), w(4), num_groups=4, epsilon=1e-2),
    case("LayerNormalization", (3, 5), "x", w(5), w(5)),
    case("LayerNormalization", (3, 5), "x", w(5), note="no shift"),
    case("LayerNormalization", (2, 3, 4), "x", w(3, 4), w(3, 4), axis=-2, epsilon=1e-2),
    case("LayerNormalization", (2, 3, 4), "x", w(2, 3, 4), w(4), axis=1),
    case("MeanVarianceNormalization", (3, 4, 5), axes=[2, 3]),
    case("MeanVarianceNormalization", (3, 4, 5), axes=[1, 2, 3], note="whole samples"),
    case("LpNormalization", (3, 5)),
    case("LpNormalization", (3, 5), axis=1, p=1),
    case("LRN", (5, 3, 3), size=3, alpha=0.5, beta=0.75, bias=1.5),
    case("LRN", (7, 2, 3), size=5, alpha=0.5),
    case("LRN", (4, 3, 2), size=9, alpha=1.0, beta=0.5, note="wider than the channels"),
]
