"""The pixels of torchvision's, timm's and transformers' own pipelines, for any size of picture, resize and crop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from export.coverage.architectures.from_torchvision import torchvision_models
from service.contract.bundle_schema import InputSpec
from service.images.preprocess import normalise
from service.images.resampling import fit

torchvision_models()  # before anything that imports torchvision

import timm.data.transforms_factory as timm_transforms  # noqa: E402
import transformers  # noqa: E402
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor  # noqa: E402

Pixels = NDArray[np.uint8]

FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

sides = st.integers(1, 90)
sizes = st.tuples(sides, sides)
filters = st.sampled_from(FILTERS)


@st.composite
def pictures(draw: st.DrawFn) -> Pixels:
    """Random pixels, grey or RGB; half of them black or white, which show a wrong rounding or an overshoot best."""
    height, width = draw(sizes)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    pixels = random.integers(0, 256, (height, width, draw(st.sampled_from([1, 3]))), np.uint8)
    return np.where(pixels > 127, 255, 0).astype(np.uint8) if draw(st.booleans()) else pixels


def image_of(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])


def pixels_of(image: Image.Image) -> Pixels:
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]


def fitted(pixels: Pixels, crop: tuple[int, int], **changes: Any) -> Pixels:
    channels = pixels.shape[2]
    size = {"height": crop[0], "width": crop[1], "channels": channels}
    return fit(pixels, InputSpec(**size, mean=MEAN[:channels], std=STD[:channels], **changes))


@settings(max_examples=150, deadline=None)
@given(pictures(), st.one_of(sides, sizes), sizes, filters)
def test_torchvisions_resize_and_crop(
    pixels: Pixels, resize: int | tuple[int, int], crop: tuple[int, int], filter_name: str
) -> None:
    pipeline = Compose([Resize(resize, InterpolationMode(filter_name)), CenterCrop(crop)])
    expected = pixels_of(pipeline(image_of(pixels)))
    np.testing.assert_array_equal(fitted(pixels, crop, resize=resize, interpolation=filter_name), expected)


@settings(max_examples=150, deadline=None)
@given(
    pixels=pictures(),
    crop=st.one_of(sizes, sides.map(lambda side: (side, side))),
    fraction=st.sampled_from([0.875, 0.9, 0.95, 1.0]),
    mode=st.sampled_from(["center", "squash", "border"]),
    filter_name=filters,
)
def test_timms_crop_modes(pixels: Pixels, crop: tuple[int, int], fraction: float, mode: str, filter_name: str) -> None:
    channels = pixels.shape[2]
    pipeline = timm_transforms.transforms_imagenet_eval(
        crop, crop_pct=fraction, crop_mode=mode, interpolation=filter_name, mean=(0.4,) * channels, normalize=False
    )
    scaled = (math.floor(crop[0] / fraction), math.floor(crop[1] / fraction))
    of_mode: dict[str, dict[str, Any]] = {
        "squash": {"resize": scaled},
        "border": {"resize": scaled, "resize_side": "longer", "resize_rounding": "even", "fill": (102,) * 3},
        "center": {"resize": scaled, "resize_side": "shorter", "resize_rounding": "even"},
    }
    changes = {"resize": scaled[0]} if mode == "center" and scaled[0] == scaled[1] else of_mode[mode]
    height, width = pixels.shape[:2]
    # timm refuses a picture so oblong that a side is rounded to no pixel at all.
    assume(mode != "border" or min(height, width) / max(height / scaled[0], width / scaled[1]) > 0.5)
    expected = pipeline(image_of(pixels)).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(fitted(pixels, crop, interpolation=filter_name, **changes), expected)


def processed(processor: Any, pixels: Pixels) -> NDArray[np.float32]:
    """Return what a processor of transformers makes of a picture, float32 [channels, height, width]."""
    array: NDArray[np.float32] = np.asarray(processor(image_of(pixels), return_tensors="np")["pixel_values"])[0]
    return array


@settings(max_examples=100, deadline=None)
@given(pictures(), st.one_of(sides, sizes), st.one_of(st.none(), sizes), st.sampled_from(FILTERS))
def test_transformers_pixels_on_arrays(
    pixels: Pixels, resize: int | tuple[int, int], crop: tuple[int, int] | None, filter_name: str
) -> None:
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    if isinstance(resize, int) and crop is None:
        crop = (resize, resize)
    size = {"shortest_edge": resize} if isinstance(resize, int) else {"height": resize[0], "width": resize[1]}
    processor = transformers.CLIPImageProcessorPil(
        size=size,
        do_center_crop=crop is not None,
        crop_size={"height": crop[0], "width": crop[1]} if crop else None,
        resample=Image.Resampling[filter_name.upper()],
        do_normalize=False,
    )
    expected = processed(processor, pixels)
    crop = crop or expected.shape[1:]
    assert crop is not None
    spec_changes: dict[str, Any] = {"crop_rounding": "down", "padding_rounding": "up", "interpolation": filter_name}
    found = fitted(pixels, crop, resize=resize, **spec_changes)
    np.testing.assert_array_equal(found.transpose(2, 0, 1), np.rint(expected * 255))


@settings(max_examples=100, deadline=None)
@given(pictures(), sides, sizes)
def test_transformers_pixels_on_tensors_within_two_levels(pixels: Pixels, resize: int, crop: tuple[int, int]) -> None:
    """Each of its two passes has weights of 16 bits and may round to the next level; 1 of 3,000 pictures shows both."""
    pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    height, width = pixels.shape[:2]
    # torch's own resize of bytes stops at an assertion where a single pixel is left.
    assume(resize > 1 or max(height, width) >= 2 * min(height, width))
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": resize},
        crop_size={"height": crop[0], "width": crop[1]},
        resample=Image.Resampling.BILINEAR,
        do_normalize=False,
    )
    assert processor.backend == "torchvision"
    expected = np.rint(processed(processor, pixels) * 255)
    found = fitted(pixels, crop, resize=resize, crop_rounding="down").astype(int)
    assert np.abs(found.transpose(2, 0, 1) - expected).max() <= 2


EVERY_LEVEL = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)


def test_normalisation_is_torchvisions_bit_for_bit() -> None:
    tensor = normalise(EVERY_LEVEL[None], InputSpec(height=16, width=16, mean=MEAN, std=STD))[0]
    expected = Compose([ToTensor(), Normalize(MEAN, STD)])(Image.fromarray(EVERY_LEVEL))
    np.testing.assert_array_equal(tensor, expected.numpy())


@pytest.mark.parametrize("processor", [transformers.CLIPImageProcessorPil, transformers.CLIPImageProcessor])
def test_normalisation_is_transformers_within_a_millionth(processor: Any) -> None:
    """transformers multiplies by 1/255, on tensors even within mean and std: the last bits differ."""
    given_processor = processor(do_resize=False, do_center_crop=False, image_mean=list(MEAN), image_std=list(STD))
    tensor = normalise(EVERY_LEVEL[None], InputSpec(height=16, width=16, mean=MEAN, std=STD))[0]
    np.testing.assert_allclose(tensor, processed(given_processor, EVERY_LEVEL), rtol=0, atol=1e-6)
