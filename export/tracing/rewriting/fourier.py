"""A discrete Fourier transform, rewritten as a product with the matrix of its coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.graph.graph import Batch, Node
from export.tracing.rewriting.parts import Parts
from export.tracing.walk import Walk


def as_product(walk: Walk, node: Node) -> list[Node]:
    """Return the nodes that take the place of a `DFT` of the image; none for any other node.

    A number is a last axis of one or two parts, real and imaginary. A transform along the batch would mix samples and
    stays as it is, to be refused.
    """
    values = walk.traces[0].values
    if node.operator != "DFT" or node.inputs[0] in values:
        return []
    shape = walk.shape(node.inputs[0])
    given, place = (values[name] if (name := node.input(index)) else None for index in (1, 2))
    axis = (-2 if place is None else int(place)) % len(shape)
    length, numbers = shape[axis], shape[-1]
    if isinstance(length, Batch) or isinstance(numbers, Batch):
        return []
    inverse, onesided = (bool(node.attribute(name, 0)) for name in ("inverse", "onesided"))
    whole = 2 * (length - 1) if inverse and onesided else length
    coefficients = _coefficients(length, numbers, whole if given is None else int(given), inverse, onesided)
    parts, rank = Parts(node), len(shape)
    order = [*(other for other in range(rank - 1) if other != axis), axis, rank - 1]
    others = [-1 if isinstance(size, Batch) else size for size in (shape[other] for other in order[:-2])]
    flat = parts.reshaped(parts.add("Transpose", node.inputs[0], perm=order), [*others, length * numbers])
    matrix = parts.constant(coefficients.reshape(length * numbers, -1).astype(walk.graph.dtypes[node.inputs[0]]))
    walk.graph.excluded |= {matrix}
    product = parts.reshaped(parts.add("MatMul", flat, matrix), [*others, *coefficients.shape[2:]])
    parts.give(parts.add("Transpose", product, perm=list(np.argsort(order))), node.outputs[0])
    return parts.nodes


def _coefficients(length: int, numbers: int, whole: int, inverse: bool, onesided: bool) -> NDArray[Any]:
    """Transform every unit vector: [length, parts of a number, frequencies, parts of a number], float64."""
    units = np.eye(length * numbers).reshape(-1, length, numbers)
    signal = units[..., 0] + (1j * units[..., 1] if numbers == 2 else 0)
    forwards, backwards = (np.fft.rfft, np.fft.irfft) if onesided else (np.fft.fft, np.fft.ifft)
    transform = backwards if inverse else forwards
    found = transform(signal if inverse or not onesided else signal.real, whole, axis=1)
    both = [found] if inverse and onesided else [found.real, found.imag]
    return np.stack(both, axis=-1).reshape(length, numbers, -1, len(both))
