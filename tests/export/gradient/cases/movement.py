"""Reductions, and operators that move, repeat or leave out entries."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.export.gradient.cases.case import Case, case, computed, ints, w

LARGEST = np.iinfo(np.int64).max
SMALLEST = np.iinfo(np.int64).min


def scales(*values: float) -> np.ndarray:
    """The scales of a Resize."""
    return np.array(values, dtype=np.float32)


def _linear(mode: str, factors: np.ndarray) -> Case:
    return case("Resize", (2, 4, 4), "x", None, factors, mode="linear", coordinate_transformation_mode=mode)


REDUCTION = [
    case("ReduceMean", (3, 4, 5), "x", ints(2, 3), keepdims=0),
    case("ReduceMean", (3, 4, 5), "x", ints(-1), keepdims=1),
    case("ReduceSum", (3, 4, 5), "x", ints(2, 3), keepdims=0),
    case("ReduceSum", (3, 4), "x", ints(-1)),
    case("ReduceSum", (3, 4), "x", None, noop_with_empty_axes=1, note="no axes"),
    case("ReduceMax", (3, 4), "x", ints(2), keepdims=0),
    case("ReduceMax", (3, 4), "x", ints(1, 2)),
    case("ReduceMin", (3, 4), "x", ints(1), keepdims=0),
    case("ReduceL1", (3, 4), "x", ints(2)),
    case("ReduceL2", (3, 4), "x", ints(2), keepdims=0),
    case("ReduceL2", (3, 4), "x", ints(1, 2)),
    case("ReduceSumSquare", (3, 4), "x", ints(1), keepdims=0),
    case("ReduceLogSum", (3, 4), "x", ints(1), keepdims=0, domain=(0.3, 2.0)),
    case("ReduceProd", (3, 4), "x", ints(2), keepdims=0),
    case("ReduceProd", (3, 4), computed("Relu", "x"), ints(1), note="with zeros"),
    case("ReduceLogSumExp", (3, 4), "x", ints(2), keepdims=0),
    case("ReduceLogSumExp", (3, 4), "x", ints(2), domain=(-30.0, 30.0), note="saturated"),
]

MOVEMENT = [
    case("Identity", (3, 4)),
    case("Reshape", (3, 4), "x", ints(-1, 2, 6)),
    case("Flatten", (3, 4), axis=1),
    case("Squeeze", (3, 1, 4), "x", ints(2)),
    case("Unsqueeze", (3, 4), "x", ints(1, 3)),
    case("Expand", (3, 1), "x", ints(1, 3, 4)),
    case("Transpose", (3, 4, 2), perm=[0, 3, 1, 2]),
    case("Transpose", (3, 4, 2), perm=[0, 2, 3, 1]),
    case("Concat", (3, 4), "x", "u", axis=1),
    case("Concat", (3, 4), "x", "u", "x", axis=-1, note="an operand twice"),
    case("Split", (6, 4), "x", ints(1, 2, 3), axis=1, outputs=3),
    case("Split", (3, 5), "x", axis=-1, num_outputs=2, outputs=2, note="uneven"),
    case("Slice", (4, 6), "x", ints(0, 1), ints(LARGEST, 3), note="without axes"),
    case("Slice", (4, 6), "x", ints(1, 0), ints(3, LARGEST), ints(1, 2), ints(1, 2)),
    case("Slice", (4, 7), "x", ints(-1), ints(SMALLEST), ints(2), ints(-1), note="reversed"),
    case("Slice", (4, 7), "x", ints(-2, 3), ints(0, -9), ints(2, 1), ints(-2, -1), note="backwards"),
    case("Slice", (4, 7), "x", ints(0, 2), ints(LARGEST, 5), ints(0, 2), note="all of the batch"),
    case("Slice", (4, 7), "x", ints(-3), ints(100), ints(2), ints(3), note="beyond the end"),
    case("Gather", (4, 5), "x", ints(2, 0, 3), axis=1, note="permuted"),
    case("Gather", (4, 5), "x", ints(1, 2), axis=2, note="neighbours"),
    case("Gather", (4, 5), "x", ints(1, 1, -1, 0), axis=-1, note="repeated"),
    case("Gather", (4, 5), "x", np.array(3), axis=1, note="one entry"),
    case("Gather", (4, 5), "x", ints(0, 2, 2, 3).reshape(2, 2), axis=1, note="table of indices"),
    case("Pad", (3, 4), "x", ints(0, 1, 2, 0, 0, 3)),
    case("Pad", (3, 4), "x", ints(1, 2), w(), ints(-1), note="axes and value"),
    case("Pad", (3, 4), "x", ints(0, -1, 1, 0, 2, -2), note="crops"),
    case("Pad", (3, 4), "x", ints(0, 2, 1, 0, 1, 3), mode="reflect"),
    case("Pad", (3, 4), "x", ints(0, 2, 1, 0, 1, 3), mode="edge"),
    case("Tile", (3, 4), "x", ints(1, 2, 3)),
    case("Tile", (3, 4), "x", ints(1, 1, 2)),
    case("CumSum", (3, 4), "x", np.array(2)),
    case("CumSum", (3, 4), "x", np.array(-2), exclusive=1),
    case("CumSum", (3, 4), "x", np.array(1), reverse=1),
    case("CumSum", (3, 4), "x", np.array(2), reverse=1, exclusive=1),
    case("Trilu", (3, 4)),
    case("Trilu", (4, 3), "x", np.array(-1), upper=0),
    case("Trilu", (2, 4, 4), "x", np.array(1)),
    case("DepthToSpace", (8, 2, 3), blocksize=2),
    case("DepthToSpace", (8, 2, 3), blocksize=2, mode="CRD"),
    case("SpaceToDepth", (2, 4, 6), blocksize=2),
    case("Cast", (3, 4), to=1),
    case("CastLike", (3, 4), "x", "u"),
    case("Dropout", (3, 4)),
]

ORDER = computed("TopK", "x", ints(3), output=1)
"""The places of the three largest entries along the last axis, sample by sample."""
FIRST = computed("ArgMax", "x", axis=2)
TWICE = computed("Concat", FIRST, FIRST, axis=2)
ROW = computed("ArgMax", "x", axis=1)
BY_ROW = computed("Transpose", ROW, perm=[0, 2, 1])
LENGTH = computed("Add", computed("ReduceMax", ROW, ints(1, 2), keepdims=0), ints(1))

INDEXING = [
    case("GatherElements", (3, 4), "x", ORDER, axis=2),
    case("GatherElements", (3, 4), "u", computed("ArgMin", "x", axis=1), axis=1, note="one row"),
    case("GatherElements", (3, 4), "u", computed("Concat", ORDER, ORDER, axis=2), axis=-1, note="repeated"),
    case("ScatterElements", (3, 4), "x", ORDER, computed("Slice", "u", ints(0), ints(3), ints(2)), axis=2),
    case("ScatterElements", (3, 4), "u", FIRST, computed("ReduceSum", "x", ints(2)), axis=-1, reduction="add"),
    case(
        "ScatterElements", (3, 4), "x", TWICE, computed("Slice", "u", ints(0), ints(2), ints(2)), axis=2, note="twice"
    ),
    case("GatherND", (3, 4), "x", computed("Unsqueeze", ORDER, ints(3)), batch_dims=2),
    case("GatherND", (3, 4), "u", BY_ROW, batch_dims=1, note="rows"),
    case("GatherND", (3, 4), "u", computed("Sub", BY_ROW, ints(3)), batch_dims=1, note="counted from the end"),
    case("TopK", (3, 4), "x", ints(2), outputs=1),
    case("TopK", (3, 4), "x", ints(2), axis=1, largest=0, outputs=1),
    case("ReverseSequence", (3, 4), "x", LENGTH, batch_axis=0, time_axis=1),
    case("CenterCropPad", (5, 4), "x", ints(2, 7), axes=[1, 2]),
    case("CenterCropPad", (4, 5), "x", ints(7, 2), axes=[1, 2]),
    case("OneHot", (3, 4), ORDER, np.array(4), w(2)),
]

RESIZE = [
    case("Resize", (2, 3, 4), "x", None, scales(1, 1, 2, 2)),
    case("Resize", (2, 3, 4), "x", None, scales(1, 1, 2, 3), coordinate_transformation_mode="asymmetric"),
    case("Resize", (2, 5, 4), "x", None, None, ints(3, 7), axes=[2, 3], nearest_mode="ceil", note="sizes"),
    case("Resize", (2, 5, 4), "x", None, scales(0.55, 1.45), axes=[2, 3], nearest_mode="floor"),
    case("Resize", (2, 5, 4), "x", None, scales(1, 1, 0.7, 1.6), nearest_mode="round_prefer_ceil"),
    case("Resize", (2, 3, 4), "x", None, scales(1, 1, 2, 2), mode="linear"),
    case("Resize", (2, 5, 4), "x", None, scales(1, 1, 0.6, 1.7), mode="linear"),
    _linear("asymmetric", scales(1, 1, 1.5, 2)),
    _linear("align_corners", scales(1, 1, 2, 1.5)),
    _linear("pytorch_half_pixel", scales(1, 1, 0.5, 2)),
    _linear("half_pixel_symmetric", scales(1, 1, 1.4, 2.3)),
    case("Resize", (2, 5), "x", None, scales(1, 1, 2.2), note="one axis"),
    case("Resize", (2, 4, 5), "x", None, scales(1, 1, 0.5, 2), mode="cubic"),
    case("Resize", (2, 4, 5), "x", None, scales(1, 1, 2, 2), mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5),
]

GRID = computed("Reshape", computed("Mul", "u", w(low=4, high=4)), ints(0, 2, 3, 2))
"""[N, 2, 3, 2] within about 2.8 to 5.2."""
COUNT = computed("Shape", "x", start=0, end=1)


def _sampled(**attributes: Any) -> Case:
    """A grid that reaches beyond the image on all sides."""
    return case("GridSample", (2, 2, 3), "x", computed("Sub", GRID, w(low=4, high=4)), **attributes)


SAMPLING = [
    _sampled(),
    _sampled(align_corners=1),
    _sampled(padding_mode="border"),
    _sampled(padding_mode="reflection"),
    _sampled(padding_mode="reflection", align_corners=1),
    _sampled(mode="nearest"),
    _sampled(mode="nearest", padding_mode="reflection", align_corners=1),
    case("GridSample", (2, 2, 3), "u", computed("Reshape", computed("Mul", "x", w(low=3, high=3)), ints(0, 3, 2, 2)),
         padding_mode="reflection", note="far beyond"),
    case("AffineGrid", (2, 3), "x", computed("Concat", COUNT, ints(1, 2, 3), axis=0)),
    case("AffineGrid", (2, 3), "x", computed("Concat", COUNT, ints(1, 3, 2), axis=0), align_corners=1),
]  # fmt: skip

MOVING: list[Case] = [*REDUCTION, *MOVEMENT, *INDEXING, *RESIZE, *SAMPLING]
