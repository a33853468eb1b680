"""Passes that lay the emitted graph out for ONNX Runtime; what it computes stays the same.

Between convolutions and pools the runtime keeps maps [N, C, h, w] in blocks of channels,
[N, C / 16, h, w, 16], and reorders them at every operator without a kernel for that layout. It has such
kernels for Conv, the pools, Add, Mul, Sum, Concat and a few activations, and uses them only where all
operands come from one. The rules know nothing of this: they emit what the formula says, and each pass here
replaces one operator that they emit by others that stay in the blocks.

    passes                   The walk over the emitted nodes, and the table of the rewrites below.
    transposed_convolution   A ConvTranspose becomes a Conv.
    phases                   With a stride, it becomes one for every phase of the stride.
    interleaving             The phases are brought to their places.
    padded_convolution       Convolutions with negative pads.
    sums                     A Sum becomes Adds. If all its terms end with the same rearrangement, that is done once,
                             after the sum. An Expand gets a pool of one position behind it, which enters the blocks.
    masks                    Where(y > 0, dy, 0) of a Relu becomes the product of dy and a step function of y.
    position_sums            A ReduceSum over the positions of a map becomes a GlobalAveragePool times their number.
"""

from export.gradient.layout import masks, position_sums, sums, transposed_convolution

__all__ = ["masks", "position_sums", "sums", "transposed_convolution"]
