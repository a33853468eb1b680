"""A model of a Triton repository: `config.pbtxt`, and one folder per version with `model.onnx`.

`config.pbtxt` names the output, its file of labels, the format and the size of the input; of pixels it says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from export.importing.flags.errors import OptionMismatch
from export.importing.folders.label_files import file_of_labels
from export.importing.folders.stated import Said
from export.importing.folders.text_proto import Message, parse_text_proto

CONFIG = "config.pbtxt"
LAYOUTS = {"FORMAT_NCHW": "nchw", "FORMAT_NHWC": "nhwc"}
MODEL_FILE = "model.onnx"
IMAGE_CHANNELS = (1, 3)


@dataclass(frozen=True)
class TritonModel:
    """A model folder: its name, and the ONNX file of each version, the lowest first."""

    folder: Path
    name: str
    versions: dict[int, Path] = field(default_factory=dict)


def triton_model(folder: Path) -> TritonModel | None:
    """Return the model in `folder`; None where the folder has no `config.pbtxt` and no numbered versions.

    Raises OptionMismatch where no version holds the file that the config names.
    """
    numbered = sorted((path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()), key=_number)
    config = read_config(folder)
    if config is None and not any((path / MODEL_FILE).is_file() for path in numbered):
        return None
    config = config or {}
    if _first(config, "ensemble_scheduling") is not None or _first(config, "platform") == "ensemble":
        raise OptionMismatch(f"{folder / CONFIG}: an ensemble has no graph of its own; name one of its models")
    file = str(_first(config, "default_model_filename") or MODEL_FILE)
    versions = {_number(path): path / file for path in numbered if (path / file).exists()}
    if not versions:
        raise OptionMismatch(f"{folder}: no version of it holds {file} ({folder.name}/1/{file} is needed)")
    return TritonModel(folder, str(_first(config, "name") or folder.name), versions)


def read_config(folder: Path) -> Message | None:
    """Read the `config.pbtxt` in `folder`; None where there is none."""
    path = folder / CONFIG
    return parse_text_proto(path.read_text(encoding="utf-8", errors="replace"), CONFIG) if path.is_file() else None


def said_by_triton(folder: Path) -> Said:
    """Return output, labels, layout and size, as far as `config.pbtxt` states them."""
    said = Said()
    config = read_config(folder) or {}
    inputs, outputs = (
        [entry for entry in config.get(part, []) if isinstance(entry, dict)] for part in ("input", "output")
    )
    if len(inputs) == 1:
        _state_input(said, inputs[0])
    if len(outputs) == 1 and isinstance(_first(outputs[0], "name"), str):
        said.state(f"{CONFIG}: output", output=_first(outputs[0], "name"))
    labelled = [output for output in outputs if isinstance(_first(output, "label_filename"), str)]
    if len(labelled) == 1:
        said.state(f"{CONFIG}: output", output=_first(labelled[0], "name"))
        name = str(_first(labelled[0], "label_filename"))
        if not (folder / name).is_file():
            raise OptionMismatch(f"{CONFIG}: label_filename {name!r} is not in the folder")
        said.state(f"{name} ({CONFIG}: label_filename)", labels=file_of_labels(folder / name))
    return said


def _state_input(said: Said, entry: Message) -> None:
    layout = LAYOUTS.get(str(_first(entry, "format")))
    sizes = [size for size in entry.get("dims", []) if isinstance(size, int)][-3:]
    if layout is not None:
        said.state(f"{CONFIG}: input.format", layout=layout)
    if len(sizes) != 3 or min(sizes) <= 0:
        return
    if layout is None and (sizes[0] in IMAGE_CHANNELS) != (sizes[2] in IMAGE_CHANNELS):
        layout = "nchw" if sizes[0] in IMAGE_CHANNELS else "nhwc"
    if layout is not None:
        said.state(f"{CONFIG}: input.dims", size=tuple(sizes[1:] if layout == "nchw" else sizes[:2]))


def _first(message: Message, name: str) -> object | None:
    values = message.get(name)
    return values[0] if values else None


def _number(path: Path) -> int:
    return int(path.name)
