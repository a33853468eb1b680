"""Mean, std and scale: what is said becomes what a bundle computes, or is asked about with the right flags."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.__main__ import with_negative_values
from export.importing import OptionMismatch
from export.importing.flags.arguments import add_options
from export.importing.flags.pixels import pixel_statistics
from service.contract.bundle_schema import InputSpec
from service.images.preprocess import normalise

TORCHVISION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IN_BYTES = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
CAFFE = (122.68, 116.67, 104.01), (1.0, 1.0, 1.0)
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)


def tensor(mean: Any, std: Any, scale: float) -> Any:
    """The tensor [n, c, h, w] that a net would get."""
    found_mean, found_std, _ = pixel_statistics(mean, std, scale, 3)
    return normalise(PIXELS, InputSpec(height=4, width=4, mean=found_mean, std=found_std, scale=scale))


@pytest.mark.parametrize(
    ("mean", "std"),
    [TORCHVISION, ((-1.0, -1.0, -1.0), (2.0, 2.0, 2.0)), ((0.0, 0.0, 0.0), (1 / 255,) * 3), ((1.0,) * 3, (1.0,) * 3)],
    ids=["torchvision", "negative", "to 0…255 by std", "minus one"],
)
def test_values_of_the_unit_interval_are_taken_as_they_are(mean: Any, std: Any) -> None:
    assert pixel_statistics(mean, std, 1.0, 3) == (mean, std, ())
    assert pixel_statistics(mean, std, 255.0, 3) == (mean, std, ())


def test_one_value_stands_for_all_channels() -> None:
    assert pixel_statistics((0.5,), (0.25,), 1.0, 3) == ((0.5,) * 3, (0.25,) * 3, ())
    assert pixel_statistics((0.1307,), (0.3081,), 1.0, 1) == ((0.1307,), (0.3081,), ())


@pytest.mark.parametrize(("mean", "std"), [IN_BYTES, CAFFE], ids=["torchvision's", "caffe's"])
def test_values_of_0_to_255_are_meant_so_with_scale_255(mean: Any, std: Any) -> None:
    expected = (PIXELS.astype(np.float64) - mean) / std
    np.testing.assert_allclose(tensor(mean, std, 255.0), expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-4)
    assert "was taken as in 0…255" in pixel_statistics(mean, std, 255.0, 3)[2][0]


@pytest.mark.parametrize(
    ("mean", "std"),
    [IN_BYTES, CAFFE, ((127.5,) * 3, (127.5,) * 3), ((0.0,) * 3, (255.0,) * 3), ((33.3,) * 3, (1.0,) * 3)],
    ids=["torchvision's", "caffe's", "halves", "std alone", "dark"],
)
def test_values_of_0_to_255_without_scale_are_asked_about(mean: Any, std: Any) -> None:
    """Both ways out that the question offers give what the values mean."""
    with pytest.raises(OptionMismatch) as caught:
        pixel_statistics(mean, std, 1.0, 3)
    question = str(caught.value)
    assert "--scale 255" in question
    offered = re.search(r"say --mean (\S+) --std (\S+),", question)
    assert offered
    said, spread = (tuple(float(part) for part in values.split(",")) for values in offered.groups())
    expected = ((PIXELS.astype(np.float64) - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(tensor(said, spread, 1.0), expected, rtol=1e-4, atol=2e-4 * np.abs(expected).max())
    np.testing.assert_allclose(tensor(mean, std, 255.0), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        ((0.5, 0.5), (1.0,), "--mean has 2 values; the model's images have 3 channels"),
        ((0.5,), (1.0,) * 4, "--std has 4 values"),
        ((float("nan"),), (1.0,), "--mean nan: every value must be a finite number"),
        ((0.5,), (float("inf"),), "--std inf: every value"),
        ((0.5,), (0.5, 0.0, 0.5), "--std 0.5,0,0.5: every value must be greater than 0"),
        ((0.5,), (-0.5,), "every value must be greater than 0"),
    ],
)
def test_values_that_are_no_statistics_are_refused(mean: Any, std: Any, words: str) -> None:
    with pytest.raises(OptionMismatch, match=re.escape(words)):
        pixel_statistics(mean, std, 1.0, 3)


@pytest.mark.parametrize(
    ("words", "mean", "size"),
    [
        (["--mean", "-1,-1,-1"], (-1.0, -1.0, -1.0), None),
        (["--mean=-1,-1,-1"], (-1.0, -1.0, -1.0), None),
        (["--mean", "-.5"], (-0.5,), None),
        (["--mean", "-1e-3,0,1E-3"], (-1e-3, 0.0, 1e-3), None),
        (["--mean", "0.5, 0.25, 0.125"], (0.5, 0.25, 0.125), None),
        (["--mean", "[0.5 0.25 0.125]"], (0.5, 0.25, 0.125), None),
        (["--mean", "0", "--size", "224x192"], (0.0,), (224, 192)),
        (["--mean", "0", "--size", "224, 192"], (0.0,), (224, 192)),
    ],
)
def test_numbers_are_taken_as_people_write_them(words: list[str], mean: Any, size: Any) -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    rest = ["m.onnx", "--name", "n", "--labels", "l", "--std", "1"]
    options = parser.parse_args(with_negative_values([*rest, *words]))
    assert options.mean == mean
    assert options.size == size
    assert options.model == Path("m.onnx")
