"""Whatever a config holds, it is understood or refused in one line; no other error leaves a reader."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from export.graph.errors import GradientError
from export.importing.folders.processors import PROCESSORS
from tests.export.importing.folders.producers import folder_with, resolved

LONGEST = 1500
"""Characters of a question with all its presets."""
SIMPLE = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 400), st.integers(), st.floats(), st.text(max_size=5),
    st.sampled_from(["bicubic", "border", "1/255", "cv2"]),
)  # fmt: skip
VALUES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["height", "width", "shortest_edge", "0", "1", "name"]), inner, max_size=3),
    ),
    max_leaves=5,
)


def config(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(keys), VALUES, max_size=5)


HUGGING_FACE = config(
    *("size", "crop_size", "crop_pct", "resample", "do_resize", "do_pad", "do_center_crop", "do_rescale"),
    *("rescale_factor", "rescale_offset", "do_normalize", "image_mean", "image_std", "include_top"),
)
TIMM = config(
    *("input_size", "test_input_size", "interpolation", "crop_pct", "test_crop_pct", "crop_mode", "mean", "std"),
    *("label_names", "label_descriptions", "num_classes"),
)
OPERATOR = st.dictionaries(
    st.sampled_from(["ResizeImage", "CropImage", "NormalizeImage", "DecodeImage", "Topk"]),
    config("size", "resize_short", "interpolation", "backend", "scale", "mean", "std", "to_rgb", "label_list") | VALUES,
    max_size=1,
)
STEPS = st.fixed_dictionaries({"transform_ops": st.lists(OPERATOR | VALUES, max_size=3)})
PADDLE = st.fixed_dictionaries({"PreProcess": VALUES | STEPS}, optional={"PostProcess": VALUES | OPERATOR})
WORDS = st.lists(
    st.sampled_from(["input", "output", "name", "dims", "format", "FORMAT_NHWC", '"a"', "3", "224", *"{}[]:,<>#"])
)


def read(files: dict[str, Any], at: str = "model.onnx") -> None:
    """Resolve a folder of these files; an error is one of ours, and one short line."""
    with tempfile.TemporaryDirectory() as name, suppress(GradientError):
        folder = folder_with(Path(name) / "net", files, at=at)
        try:
            resolved(folder)
        except GradientError as error:
            words = str(error).replace(str(folder), "")
            if "\n" in words or len(words) > LONGEST:
                raise AssertionError(words) from error


@given(st.sampled_from(sorted(PROCESSORS)), HUGGING_FACE, config("id2label", "problem_type", "model_type"))
@settings(max_examples=150)
def test_configs_of_transformers(name: str, preprocessor: dict[str, Any], described: dict[str, Any]) -> None:
    named = {**preprocessor, "image_processor_type": name}
    read({"preprocessor_config.json": named, "config.json": described})


@given(TIMM)
@settings(max_examples=100)
def test_configs_of_timm(cfg: dict[str, Any]) -> None:
    read({"config.json": {"architecture": "net", "pretrained_cfg": cfg}})


@given(PADDLE)
@settings(max_examples=100)
def test_configs_of_paddlepaddle(described: dict[str, Any]) -> None:
    read({"inference.yml": yaml.safe_dump(described)})


@given(WORDS)
@settings(max_examples=100)
def test_configs_of_triton(words: list[str]) -> None:
    read({"config.pbtxt": " ".join(words)}, at="1/model.onnx")


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4) | VALUES)
@settings(max_examples=60)
def test_files_of_labels(content: Any) -> None:
    read({"class_indices.json": json.dumps(content)})


def test_a_document_that_grows_when_it_is_written_out_is_refused_in_few_words() -> None:
    """Each level of the YAML holds the one below ten times, by reference."""
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    rest = "PreProcess: {transform_ops: [{CropImage: {size: *a8}}]}\nPostProcess: {Topk: {label_list: *a8}}\n"
    read({"inference.yml": f"a0: &a0 [x]\n{levels}{rest}"})
