"""Folders of transformers and optimum: `config.json` names the classes, `preprocessor_config.json` the pictures.

The tensor is that of transformers' own image processor, whose steps are: resize, crop from the middle, rescale,
normalize. What the file leaves out, the processor's class has defaults for (`processors.py`).

    `size`, of way          the picture is resized to
    plain                   {height, width}, or {shortest_edge} of the shorter side
    convnext                below 384: shorter side int(size / crop_pct), then crop to size; else size × size
    levit                   shorter side int(256 / 224 · size)
    poolformer              shorter side int(size / crop_pct)
"""

from __future__ import annotations

from typing import Any

from export.importing.flags.errors import OptionMismatch
from export.importing.folders.processors import PROCESSORS, Processor, processor_name
from export.importing.folders.stated import INSTEAD, Said, affine, numbers, shown, whole

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
WARPED_FROM = 384  # ConvNeXT's processor stretches pictures to sizes from this on
RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's numbers
LABEL_KINDS = {"single_label_classification": "exclusive", "multi_label_classification": "independent"}

Resize = dict[str, Any]


def said_by_config(config: dict[str, Any]) -> Said:
    """Return the labels of a `config.json`, and whether they exclude each other where it says so."""
    said = Said()
    if (kind := LABEL_KINDS.get(str(config.get("problem_type")))) is not None:
        said.state(f"{CONFIG}: problem_type", labels_are=kind)
    labels = config.get("id2label")
    if isinstance(labels, dict) and labels:
        wanted = [str(number) for number in range(len(labels))]
        named = {str(number): label for number, label in labels.items()}
        if set(named) != set(wanted) or not all(isinstance(label, str) for label in named.values()):
            raise OptionMismatch(f"{CONFIG}: id2label must name the classes 0 to {len(labels) - 1}; say --labels")
        said.state(f"{CONFIG}: id2label", labels=tuple(named[number] for number in wanted))
    return said


def said_by_preprocessor(given: dict[str, Any], model_type: Any) -> Said:
    """Return how pictures are prepared.

    Raises OptionMismatch for a class of processors that is not known, and for steps that no bundle can state.
    """
    name = processor_name(given, model_type)
    if name not in PROCESSORS:
        what = f"its image processor {name} is not known" if name else "it does not name its image processor"
        raise OptionMismatch(f"{PREPROCESSOR}: {what}; {INSTEAD}")
    processor = PROCESSORS[name]
    stated = {key: value for key, value in given.items() if value is not None}
    values = {**processor.defaults, **stated}
    said = Said()

    def source(*keys: str) -> str:
        """Name the keys that the file states; the class's defaults where it states none."""
        found = [key for key in keys if key in stated]
        return f"{PREPROCESSOR}: {', '.join(found)}" if found else f"{name}'s default"

    _refuse_what_cannot_be_said(values)
    geometry = _geometry(values, processor)
    said.state(source("size", "crop_size", "crop_pct", "do_center_crop"), **geometry, crop_rounding="down")
    said.state(source("resample"), interpolation=_interpolation(values["resample"]))
    mean, std, scale = _normalization(values, processor)
    keys = ("image_mean", "image_std", "rescale_factor", "rescale_offset", "include_top", "do_normalize", "do_rescale")
    said.state(source(*keys), mean=mean, std=std, scale=scale)
    flips = bool(values.get("do_flip_channel_order"))
    said.state(source("do_flip_channel_order"), channels="bgr" if flips else "rgb")
    return said


def _refuse_what_cannot_be_said(values: dict[str, Any]) -> None:
    if not values["do_resize"]:
        raise OptionMismatch(f"{PREPROCESSOR}: do_resize is false, so it takes pictures of one size only; {INSTEAD}")
    if values.get("do_pad"):
        raise OptionMismatch(
            f"{PREPROCESSOR}: do_pad pads below and to the right, which a bundle cannot say; {INSTEAD}"
        )
    size = values["size"]
    if isinstance(size, dict) and set(size) not in ({"height", "width"}, {"shortest_edge"}):
        raise OptionMismatch(f"{PREPROCESSOR}: a bundle cannot say the size {shown(size)}; {INSTEAD}")


def _geometry(values: dict[str, Any], processor: Processor) -> Resize:
    """Return `size` of the network and the resize before the crop."""
    size = _sides(values["size"], "size", square=processor.square)
    crop = _sides(values["crop_size"], "crop_size", square=True) if values["do_center_crop"] else None
    fraction = values.get("crop_pct")
    match processor.way:
        case "convnext":
            if isinstance(size, tuple) or crop is not None:
                raise OptionMismatch(f"{PREPROCESSOR}: ConvNextImageProcessor needs a size with shortest_edge alone")
            if size >= WARPED_FROM:
                return _stretched(size, size)
            return _to_shorter(int(size / _fraction(fraction)), (size, size))
        case "levit" if isinstance(size, int):
            size = int(256 / 224 * size)
        case "poolformer" if fraction is not None:
            share = _fraction(fraction)
            if isinstance(size, tuple) and size[0] == size[1]:
                size = size[0]
            size = int(size / share) if isinstance(size, int) else (int(size[0] / share), int(size[1] / share))
    if isinstance(size, int) and crop is None:
        raise OptionMismatch(
            f"{PREPROCESSOR}: the shorter side becomes {size} and nothing is cropped, so the network's pictures have "
            f"no one size; {INSTEAD}"
        )
    if isinstance(size, int):
        return _to_shorter(size, crop if isinstance(crop, tuple) else (size, size))
    return {"size": crop, "resize": size, "resize_side": None} if isinstance(crop, tuple) else _stretched(*size)


def _stretched(height: int, width: int) -> Resize:
    return {"size": (height, width), "resize_side": None}


def _to_shorter(side: int, crop: tuple[int, int]) -> Resize:
    return {"size": crop, "resize": side, "resize_side": "shorter"}


def _fraction(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise OptionMismatch(f"{PREPROCESSOR}: crop_pct is {shown(value)}, but a share of 1 is needed")
    return float(value)


def _sides(value: Any, key: str, *, square: bool) -> int | tuple[int, int]:
    """Read a size: the shorter side alone, or (height, width)."""
    where = f"{PREPROCESSOR}: {key}"
    if isinstance(value, dict) and "shortest_edge" in value:
        side = whole(value["shortest_edge"], where)
        return (side, side) if key == "crop_size" else side
    if isinstance(value, dict):
        return whole(value.get("height"), where), whole(value.get("width"), where)
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return whole(value[0], where), whole(value[1], where)
    side = whole(value, where)
    return (side, side) if square else side


def _interpolation(number: Any) -> str:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(RESAMPLING):
        raise OptionMismatch(f"{PREPROCESSOR}: resample is {shown(number)}, none of Pillow's filters; {INSTEAD}")
    return RESAMPLING[number]


def _normalization(values: dict[str, Any], processor: Processor) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Return mean, std and scale of (pixel · rescale_factor − mean) / std, as far as the switches ask for it.

    EfficientNet's processor may take 1 off after rescaling, and divide by std once more (`include_top`).
    """
    factor = numbers(values["rescale_factor"], f"{PREPROCESSOR}: rescale_factor")[0] if values["do_rescale"] else 1.0
    offset = -1.0 if values["do_rescale"] and values.get("rescale_offset") else 0.0
    mean = numbers(values["image_mean"], f"{PREPROCESSOR}: image_mean")
    std = numbers(values["image_std"], f"{PREPROCESSOR}: image_std")
    shifts = processor.normalizes and bool(values["do_normalize"])
    divisions = int(shifts) + int(bool(values.get("include_top")))
    return affine(factor, offset, mean if shifts else (0.0,) * len(mean), [value**divisions for value in std])
