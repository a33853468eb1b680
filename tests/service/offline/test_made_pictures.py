"""Pictures made for a check: what a photograph's statistics are, at any size that a network reads."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from service.contract.bundle_schema import InputSpec
from service.offline.made_pictures import made_pictures


def spec(height: int, width: int, channels: Literal[1, 3] = 3) -> InputSpec:
    return InputSpec(height=height, width=width, channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels)


@pytest.mark.parametrize("shape", [(32, 32, 3), (48, 192, 3), (28, 28, 1), (1, 1, 3), (3, 600, 1)])
def test_they_are_as_the_network_reads_them(shape: Any) -> None:
    pictures = made_pictures(4, spec(*shape))
    assert pictures.shape == (4, *shape)
    assert pictures.dtype == np.uint8
    assert np.array_equal(pictures, made_pictures(4, spec(*shape))), "the same every time"
    assert len(np.unique(pictures.reshape(4, -1), axis=0)) == 4, "all different"


def test_their_spectrum_is_that_of_photographs() -> None:
    """The amplitude falls about as 1/f (Field 1987: exponents from 0.7 to 1.5), and no picture is flat or burnt out."""
    grey = made_pictures(32, spec(128, 128)).mean(axis=3)
    amplitude = np.abs(np.fft.fft2(grey - grey.mean(axis=(1, 2), keepdims=True))).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    band = (frequency > 0.02) & (frequency < 0.3)
    slope = np.polyfit(np.log(frequency[band]), np.log(amplitude[band]), 1)[0]
    assert 0.7 < -slope < 1.5
    assert 80 < grey.mean() < 170
    assert grey.std(axis=(1, 2)).min() > 4
    assert np.ptp(grey.mean(axis=(1, 2))) > 60, "light and dark pictures"
