"""timm's folders: `pretrained_cfg` in `config.json`, resolved as `timm.data.resolve_data_config` does.

The tensor is that of `create_transform(**resolve_data_config(...))`. A file that is fixed to `test_input_size` is
taken as evaluated at it, with `test_crop_pct`.
"""

from __future__ import annotations

from typing import Any

from export.importing.flags.errors import OptionMismatch
from export.importing.flags.options import ResizeSide
from export.importing.flags.presets import IMAGENET_MEAN, IMAGENET_STD
from export.importing.folders.stated import INSTEAD, FileFacts, Said, numbers, shown, whole

CONFIG = "config.json"
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
CROP_MODES: dict[str, ResizeSide | None] = {"center": "shorter", "squash": None, "border": "longer"}
"""Which side the size is that the picture is resized to, crop_pct being the share that the crop keeps of it."""


def timm_config(config: dict[str, Any]) -> dict[str, Any] | None:
    """Return the `pretrained_cfg` of a `config.json`, also of timm's first form; None where there is none."""
    found = config.get("pretrained_cfg")
    if isinstance(found, dict):
        return found
    return config if "architecture" in config and "input_size" in config else None


def said_by_timm(cfg: dict[str, Any], facts: FileFacts) -> Said:
    """Return what timm's config says of size, resize and normalization."""
    said = Said()

    def value(key: str, default: Any) -> tuple[Any, str]:
        found = cfg.get(key)
        return (found, f"{CONFIG}: {key}") if found else (default, "timm's default")

    size, source, tested = _size(cfg, facts)
    said.state(source, size=size)
    crop, crop_source = value("test_crop_pct", cfg.get("crop_pct") or 0.875) if tested else value("crop_pct", 0.875)
    mode, mode_source = value("crop_mode", "center")
    if not isinstance(mode, str) or mode not in CROP_MODES:
        raise OptionMismatch(f"{CONFIG}: crop_mode is {shown(mode)}, none of {', '.join(CROP_MODES)}; {INSTEAD}")
    mean, mean_source = value("mean", list(IMAGENET_MEAN))
    mean = numbers(mean, mean_source)
    std, std_source = value("std", list(IMAGENET_STD))
    share = numbers(crop, crop_source)[0]
    if share <= 0:
        raise OptionMismatch(f"{CONFIG}: crop_pct is {shown(crop)}, but a share above 0 is needed")
    said.state(crop_source, crop_fraction=share)
    # timm takes torchvision's Resize, which rounds down, for squares of the shorter side alone.
    rounding = "down" if mode == "center" and size[0] == size[1] else "even"
    said.state(mode_source, resize_side=CROP_MODES[mode], resize_rounding=rounding)
    if mode == "border":
        bytes_ = [min(255, max(0, round(255 * shade))) for shade in (mean * 3 if len(mean) == 1 else mean)]
        said.state(mode_source, fill=tuple(bytes_))
    interpolation, interpolation_source = value("interpolation", "bicubic")
    if not isinstance(interpolation, str) or interpolation not in INTERPOLATIONS:
        raise OptionMismatch(f"{CONFIG}: interpolation is {shown(interpolation)}; {INSTEAD}")
    said.state(interpolation_source, interpolation=interpolation)
    said.state(mean_source, mean=mean, scale=1.0)
    said.state(std_source, std=numbers(std, std_source))
    said.state("timm reads RGB", channels="rgb")
    tests_at = cfg.get("test_input_size")
    if tests_at and not tested and not facts.is_fixed_to(size):
        said.notes.append(
            f"{CONFIG} also has a test_input_size of {shown(tests_at)}, at which timm's validate.py evaluates; "
            "--size and --crop-fraction choose it"
        )
    return said


def _size(cfg: dict[str, Any], facts: FileFacts) -> tuple[tuple[int, int], str, bool]:
    """Return height and width, the source, and True where it is the size for tests."""
    tests_at = _pair(cfg.get("test_input_size"), "test_input_size")
    if tests_at and facts.is_fixed_to(tests_at):
        return tests_at, f"{CONFIG}: test_input_size", True
    given = _pair(cfg.get("input_size"), "input_size")
    return (given, f"{CONFIG}: input_size", False) if given else ((224, 224), "timm's default", False)


def _pair(value: Any, key: str) -> tuple[int, int] | None:
    if not value:
        return None
    if not isinstance(value, list) or len(value) != 3:
        raise OptionMismatch(f"{CONFIG}: {key} is {shown(value)}, but [channels, height, width] is needed")
    return whole(value[1], f"{CONFIG}: {key}"), whole(value[2], f"{CONFIG}: {key}")


def labels_of_timm(config: dict[str, Any], cfg: dict[str, Any]) -> Said:
    """Return the labels: `label_names`, each with its description where there is one."""
    said = Said()
    names = config.get("label_names") or cfg.get("label_names") or cfg.get("labels")
    if isinstance(names, dict):
        wanted = [str(number) for number in range(len(names))]
        if set(names) != set(wanted):
            raise OptionMismatch(f"{CONFIG}: label_names has gaps; say --labels")
        names = [names[number] for number in wanted]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return said
    descriptions = config.get("label_descriptions") or cfg.get("label_descriptions") or {}
    texts = [descriptions.get(name) if isinstance(descriptions, dict) else None for name in names]
    said.state(
        f"{CONFIG}: label_names",
        labels=tuple(text if isinstance(text, str) and text else name for name, text in zip(names, texts, strict=True)),
    )
    return said
