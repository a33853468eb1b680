"""Convolutions, transposed convolutions and pools."""

from __future__ import annotations

from tests.export.gradient.cases.case import Case, case, ints, w

POOLS = [
    case("GlobalAveragePool", (3, 4, 5)),
    case("AveragePool", (2, 6, 6), kernel_shape=[2, 2], strides=[2, 2]),
    case("AveragePool", (2, 7, 6), kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 0, 1]),
    case("AveragePool", (2, 7, 6), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    case("AveragePool", (2, 7, 8), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    case("AveragePool", (2, 9), kernel_shape=[3], strides=[2], note="one axis"),
    case("LpPool", (2, 6, 6), kernel_shape=[2, 2], strides=[2, 2]),
    case("LpPool", (2, 7, 6), kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 0, 1], p=3),
    case("LpPool", (2, 7, 6), kernel_shape=[2, 2], dilations=[2, 1], p=1, note="dilated"),
    case("GlobalLpPool", (3, 4, 5)),
    case("GlobalLpPool", (3, 4), p=3),
    case("MaxPool", (2, 6, 6), kernel_shape=[2, 2], strides=[2, 2]),
    case("MaxPool", (2, 7, 7), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], note="overlapping"),
    case("MaxPool", (2, 5, 5), kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], note="stride 1"),
    case("MaxPool", (2, 7, 8), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    case("MaxPool", (2, 8, 8), kernel_shape=[2, 2], strides=[2, 2], dilations=[2, 2]),
    case("MaxPool", (2, 9), kernel_shape=[3], strides=[2], note="one axis"),
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
    case("Conv", (3, 6, 7), "x", w(4, 3, 3, 3), w(4), pads=[1, 1, 1, 1]),
    case("Conv", (3, 6, 7), "x", w(4, 3, 1, 1), note="pointwise"),
    case("Conv", (3, 6, 7), "x", w(4, 3, 1, 1), w(4), strides=[2, 2], note="pointwise"),
    case("Conv", (3, 8, 8), "x", w(4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], note="even size"),
    case("Conv", (3, 7, 9), "x", w(4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], note="odd size"),
    case("Conv", (2, 9, 8), "x", w(3, 2, 3, 2), strides=[3, 2], pads=[0, 1, 2, 0], note="asymmetric pads"),
    case("Conv", (2, 9, 8), "x", w(3, 2, 3, 3), dilations=[2, 1], pads=[2, 0, 1, 2]),
    case("Conv", (2, 9, 9), "x", w(3, 2, 3, 3), dilations=[2, 2], strides=[2, 3], pads=[1, 2, 2, 1]),
    case("Conv", (4, 6, 6), "x", w(6, 2, 3, 3), w(6), group=2, pads=[1, 1, 1, 1]),
    case("Conv", (4, 7, 6), "x", w(4, 1, 3, 3), group=4, pads=[1, 1, 1, 1], note="depthwise"),
    case("Conv", (4, 7, 6), "x", w(8, 1, 3, 3), group=4, strides=[2, 2], pads=[1, 1, 1, 1], note="depthwise"),
    case("Conv", (2, 7, 7), "x", w(3, 2, 5, 5), strides=[2, 2], auto_pad="SAME_UPPER"),
    case("Conv", (2, 6, 7), "x", w(3, 2, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"),
    case("Conv", (2, 6, 7), "x", w(3, 2, 3, 3), auto_pad="VALID"),
    case("Conv", (2, 5, 5), "x", w(3, 2, 2, 2), pads=[2, 2, 2, 2], note="padded beyond the kernel"),
    case("Conv", (2, 11, 11), "x", w(3, 2, 3, 3), strides=[4, 4], pads=[1, 1, 1, 1], note="stride beyond the kernel"),
    case("Conv", (3, 13), "x", w(4, 3, 5), w(4), strides=[2], pads=[2, 1], note="one axis"),
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
