"""Attributes drawn at random, through the same runner as the table."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.export.gradient.cases.case import Case, case, computed, ints, w
from tests.export.gradient.rules.runner import (
    assert_agrees_with_central_differences,
    assert_float32_agrees_with_float64,
)

few = settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def assert_right(drawn: Case) -> None:
    assert_agrees_with_central_differences(drawn)
    assert_float32_agrees_with_float64(drawn)


def pairs(low: int, high: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high), min_size=2, max_size=2)


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
    """Sizes, kernel, strides, dilations and pads of two axes, at least one window each."""
    kernel, strides, dilations = draw(pairs(1, 3)), draw(pairs(1, 3)), draw(pairs(1, 2))
    pads = [draw(st.integers(0, max(0, k - 1))) for k in (*kernel, *kernel)]
    sizes = [d * (k - 1) + 1 + draw(st.integers(0, 4)) for k, d in zip(kernel, dilations, strict=True)]
    return sizes, kernel, strides, dilations, pads


@few
@given(windows(), st.sampled_from([1, 2]), st.sampled_from([1, 2]))
def test_convolutions(drawn: tuple[list[int], ...], groups: int, channels: int) -> None:
    sizes, kernel, strides, dilations, pads = drawn
    weight = w(2 * groups, channels, *kernel)
    assert_right(
        case(
            "Conv", (groups * channels, *sizes), "x", weight, w(2 * groups),
            strides=strides, dilations=dilations, pads=pads, group=groups,
        )
    )  # fmt: skip


@few
@given(windows(), st.sampled_from([1, 2]), st.data())
def test_transposed_convolutions(drawn: tuple[list[int], ...], groups: int, data: st.DataObject) -> None:
    _, kernel, strides, dilations, pads = drawn
    padding = [data.draw(st.integers(0, stride - 1)) for stride in strides]
    sizes = [3, 4]
    reached = [
        (n - 1) * s + d * (k - 1) + 1 + more - begin - end
        for n, s, d, k, more, begin, end in zip(
            sizes, strides, dilations, kernel, padding, pads[:2], pads[2:], strict=True
        )
    ]
    assume(min(reached) > 0)
    assert_right(
        case(
            "ConvTranspose", (2 * groups, *sizes), "x", w(2 * groups, 2, *kernel), w(2 * groups),
            strides=strides, dilations=dilations, pads=pads, output_padding=padding, group=groups,
        )
    )  # fmt: skip


@few
@given(windows(), st.booleans())
def test_max_pools(drawn: tuple[list[int], ...], ceil: bool) -> None:
    sizes, kernel, strides, dilations, pads = drawn
    assert_right(
        case(
            "MaxPool", (2, *sizes), kernel_shape=kernel,
            strides=strides, dilations=dilations, pads=pads, ceil_mode=int(ceil),
        )
    )  # fmt: skip


@few
@given(windows(), st.booleans())
def test_average_pools(drawn: tuple[list[int], ...], include_pad: bool) -> None:
    sizes, kernel, strides, _, pads = drawn
    assert_right(
        case(
            "AveragePool", (1, *sizes), kernel_shape=kernel,
            strides=strides, pads=pads, count_include_pad=int(include_pad),
        )
    )  # fmt: skip


@few
@given(pairs(-6, 6), pairs(-6, 6), st.lists(st.sampled_from([-3, -2, -1, 1, 2, 3]), min_size=2, max_size=2))
def test_slices(starts: list[int], ends: list[int], steps: list[int]) -> None:
    kept = [len(range(5)[slice(*entry)]) for entry in zip(starts, ends, steps, strict=True)]
    assume(min(kept) > 0)
    assert_right(case("Slice", (5, 5), "x", ints(*starts), ints(*ends), ints(1, 2), ints(*steps)))


@few
@given(pairs(0, 3), pairs(0, 3), st.sampled_from(["constant", "reflect", "edge"]))
def test_pads(before: list[int], after: list[int], mode: str) -> None:
    assert_right(case("Pad", (4, 5), "x", ints(0, *before, 0, *after), mode=mode))


@few
@given(
    st.sampled_from(["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"]),
    st.sampled_from([(), (1,), (4,), (3, 1), (3, 4), (1, 1, 4), (1, 3, 1)]),
    st.booleans(),
)
def test_broadcasting(operator: str, shape: tuple[int, ...], swapped: bool) -> None:
    constant = w(*shape, low=0.4, high=1.7)
    operands = (constant, "x") if swapped else ("x", constant)
    assert_right(case(operator, (3, 4), *operands, domain=(0.3, 2.0)))


@few
@given(st.permutations([0, 1, 2]), st.lists(st.integers(-4, 3), min_size=1, max_size=6))
def test_transposes_and_gathers(order: list[int], index: list[int]) -> None:
    assert_right(case("Transpose", (3, 4, 2), perm=[0, *(axis + 1 for axis in order)]))
    assert_right(case("Gather", (3, 4), "x", np.array(index), axis=2))


@few
@given(st.integers(1, 4), st.sampled_from([1, 2]), st.booleans(), st.booleans())
def test_largest_entries_and_what_lies_there(count: int, axis: int, largest: bool, added: bool) -> None:
    """The largest entries along an axis, read from another tensor, and written over or added to it."""
    kept = min(count, (3, 4)[axis - 1])
    assert_right(case("TopK", (3, 4), "x", ints(kept), axis=axis, largest=int(largest)))
    places = computed("TopK", "x", ints(kept), output=1, axis=axis, largest=int(largest))
    assert_right(case("GatherElements", (3, 4), "u", places, axis=axis))
    updates = computed("GatherElements", "x", places, axis=axis)
    assert_right(case("ScatterElements", (3, 4), "u", places, updates, axis=axis, reduction="add" if added else "none"))


@few
@given(
    st.sampled_from(["zeros", "border", "reflection"]),
    st.integers(0, 1),
    st.floats(1.5, 5.0, width=32),
    st.tuples(st.integers(2, 3), st.integers(2, 3)),
)
def test_grids(padding: str, align: int, reach: float, sizes: tuple[int, int]) -> None:
    """Places up to twice as far out as the image is wide."""
    spread = computed("Mul", computed("Sub", "u", w(low=1, high=1)), w(low=reach, high=reach))
    grid = computed("Reshape", spread, ints(0, -1, sizes[0], 2))
    assert_right(case("GridSample", (2, *sizes), "x", grid, padding_mode=padding, align_corners=align))


@few
@given(windows(), st.integers(1, 3))
def test_pools_of_powers(drawn: tuple[list[int], ...], order: int) -> None:
    sizes, kernel, strides, dilations, pads = drawn
    assert_right(
        case("LpPool", (2, *sizes), kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads, p=order)
    )
