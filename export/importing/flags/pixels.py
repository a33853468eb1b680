"""Mean, std and scale: from the flags to what a bundle states.

A bundle computes ((pixel / 255) − mean) / std · scale. Mean and std are often quoted for pixels of 0…255 instead,
123.675 for 0.485. Taken as they are, such values would make all images look the same to the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnx import TensorProto

from export.importing.flags.errors import OptionMismatch

LARGEST_IN_UNITS = 2.0
"""Upper bound of means and deviations of pixels in [0, 1]; those of photographs in 0…255 lie above it."""
BYTES = 255.0
HOLDING_BYTES = {
    TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
    TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
}  # fmt: skip
"""Integer types that can hold a pixel of 0…255."""

Values = tuple[float, ...]


def pixel_statistics(mean: Values, std: Values, scale: float, channels: int) -> tuple[Values, Values, tuple[str, ...]]:
    """Return mean and std for pixels in [0, 1], one value per channel, and notes.

    A single value applies to all channels. With `scale` 255 a mean that can only be meant in 0…255 is divided by 255.

    Raises OptionMismatch for a wrong number of values, a value that is not finite, a std that is not positive, or
    values in 0…255 without `scale` 255; the message then gives the flags that are meant.
    """
    mean, std = _per_channel("--mean", mean, channels), _per_channel("--std", std, channels)
    if not all(value > 0 for value in std):
        raise OptionMismatch(f"--std {written(std)}: every value must be greater than 0")
    mean_in_bytes = any(abs(value) > LARGEST_IN_UNITS for value in mean)
    std_in_bytes = any(value > LARGEST_IN_UNITS for value in std)
    if scale == BYTES:
        if not mean_in_bytes:
            return mean, std, ()
        note = f"--mean {written(mean)} was taken as in 0…255, as --scale 255 says"
        return _divided(mean), std, (note,)
    if mean_in_bytes or std_in_bytes:
        raise OptionMismatch(_question(mean, std, mean_in_bytes, std_in_bytes))
    return mean, std, ()


def written(values: Sequence[float]) -> str:
    """Write values as a flag takes them."""
    return ",".join(f"{value:.6g}" for value in values)


def _per_channel(flag: str, values: Values, channels: int) -> Values:
    if not all(math.isfinite(value) for value in values):
        raise OptionMismatch(f"{flag} {written(values)}: every value must be a finite number")
    if len(values) == 1:
        return values * channels
    if len(values) != channels:
        raise OptionMismatch(f"{flag} has {len(values)} values; the model's images have {channels} channels")
    return values


def _divided(values: Values) -> Values:
    return tuple(value / BYTES for value in values)


def _question(mean: Values, std: Values, mean_in_bytes: bool, std_in_bytes: bool) -> str:
    """Return the message: what was said, why it cannot be meant, and both ways of saying what can."""
    said = [f"--mean {written(mean)}"] if mean_in_bytes else []
    said += [f"--std {written(std)}"] if std_in_bytes else []
    same = f"--mean {written(_divided(mean) if mean_in_bytes else mean)} --std {written(_divided(std))}"
    return (
        f"{' '.join(said)}: these are units of 0…255, but mean and std apply to RGB in [0, 1]. If the model wants "
        f"(pixel − mean) / std of pixels 0…255, say {same}, which is the same as adding --scale 255 to what you said"
    )
