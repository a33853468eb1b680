"""Pools and transposed convolutions."""

from __future__ import annotations

from tests.export.gradient.cases.case import Case, case, ints, w

POOLS = [
    case("GlobalMaxPool", (3, 4, 5)),
    case("GlobalMaxPool", (3, 7), note="one axis"),
    case("MaxPool", (2, 8, 7), kernel_shape=[3, 3], strides=[2, 2], pads=[0, 1, 1, 0], ceil_mode=1),
    case("MaxPool", (2, 7, 7), kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 1, 1, 1], note="overlapping"),
    case("MaxPool", (1, 4, 4, 4), kernel_shape=[2, 2, 2], strides=[1, 2, 2], note="three axes"),
    case("AveragePool", (1, 4, 5), kernel_shape=[3, 3], strides=[1, 2], note="overlapping"),
    case("AveragePool", (1, 6, 5), kernel_shape=[3, 2], dilations=[2, 3], note="dilated"),
    case("AveragePool", (1, 5, 4), kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    case("AveragePool", (1, 4, 4), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 0, 1], ceil_mode=1, note="padded"),
    case("AveragePool", (1, 2, 3, 4), kernel_shape=[2, 2, 2], strides=[2, 1, 2], note="three axes"),
]  # fmt: skip

CONV_TRANSPOSE = [
    case("ConvTranspose", (3, 4, 5), "x", w(3, 2, 3, 3), w(2)),
    case("ConvTranspose", (3, 4, 5), "x", w(3, 2, 2, 2), strides=[2, 2]),
    case("ConvTranspose", (3, 4, 5), "x", w(3, 2, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    case("ConvTranspose", (2, 4, 3), "x", w(2, 3, 3, 2), strides=[3, 2], pads=[0, 1, 2, 0], note="asymmetric pads"),
    case("ConvTranspose", (2, 4, 3), "x", w(2, 3, 3, 3), dilations=[2, 1], strides=[1, 2], pads=[1, 0, 2, 1]),
    case("ConvTranspose", (4, 3, 4), "x", w(4, 3, 3, 3), w(6), group=2, pads=[1, 1, 1, 1]),
    case("ConvTranspose", (3, 4, 4), "x", w(3, 1, 2, 2), group=3, strides=[2, 2], note="depthwise"),
    case("ConvTranspose", (3, 4, 5), "x", w(3, 4, 1, 1), w(4), note="pointwise"),
    case("ConvTranspose", (2, 4, 4), "x", w(2, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    case("ConvTranspose", (2, 4, 3), "x", w(2, 3, 3, 3), strides=[2, 3], auto_pad="SAME_LOWER"),
    case("ConvTranspose", (2, 4, 4), "x", w(2, 3, 3, 4), strides=[2, 2], output_shape=[8, 7]),
    case("ConvTranspose", (2, 3, 4), "x", w(2, 3, 3, 2), strides=[2, 2], output_shape=[8, 9], note="larger than full"),
    case("ConvTranspose", (2, 6), "x", w(2, 3, 4), w(3), strides=[2], pads=[1, 1], note="one axis"),
]  # fmt: skip

CONVOLUTIONS = [
    case("Conv", (2, 4, 4, 5), "x", w(3, 2, 2, 3, 2), w(3), strides=[1, 2, 2], pads=[0, 1, 0, 1, 1, 0]),
    case("Conv", (4, 9), "x", w(4, 1, 3), group=4, dilations=[2], pads=[2, 2], note="depthwise, one axis"),
    case("Conv", (2, 5, 6), "x", w(3, 2, 1, 3), strides=[2, 1], pads=[0, 1, 0, 1], note="a row"),
]  # fmt: skip

FOLDS = [
    case("Col2Im", (8, 6), "x", ints(4, 6), ints(2, 2), strides=[2, 2], note="apart"),
    case("Col2Im", (12, 9), "x", ints(4, 5), ints(3, 2), strides=[1, 2], pads=[0, 1, 1, 0], note="overlapping"),
    case("Col2Im", (8, 8), "x", ints(4, 6), ints(2, 2), dilations=[2, 2], note="dilated"),
    case("Col2Im", (6, 4), "x", ints(9), ints(3), strides=[2], note="one axis"),
]  # fmt: skip

WINDOWS: list[Case] = [*POOLS, *CONV_TRANSPOSE, *CONVOLUTIONS, *FOLDS]
