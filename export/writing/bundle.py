"""Writing a bundle: every graph, each weight once, and `bundle.json` last.

A bundle appears whole or not at all: it is written beside its destination and renamed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnx import TensorProto, external_data_helper

from service.contract.bundle_schema import Bundle, Graph, GraphName

WEIGHTS_FILE = "weights.bin"
SMALLEST_EXTERNAL = 256
"""Bytes from which a tensor is stored outside the graph; shape operands must stay inside to be folded."""
ALIGNMENT = 64


class WeightFile:
    """Collects tensors by content, so that what several graphs share is stored once."""

    def __init__(self) -> None:
        self.content = bytearray()
        self._offsets: dict[bytes, int] = {}

    def store(self, tensor: TensorProto) -> None:
        """Move the tensor's data into this file, leaving a reference behind."""
        raw = tensor.raw_data
        digest = hashlib.sha256(raw).digest()
        if digest not in self._offsets:
            self.content.extend(bytes(-len(self.content) % ALIGNMENT))
            self._offsets[digest] = len(self.content)
            self.content.extend(raw)
        external_data_helper.set_external_data(tensor, WEIGHTS_FILE, self._offsets[digest], len(raw))
        tensor.ClearField("raw_data")


def with_external_weights(model: onnx.ModelProto, weights: WeightFile) -> onnx.ModelProto:
    """A copy of `model` whose large initializers are stored in `weights`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if not tensor.raw_data:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
        if len(tensor.raw_data) >= SMALLEST_EXTERNAL:
            weights.store(tensor)
    return copy


def describe_graphs(graphs: Mapping[GraphName, onnx.ModelProto]) -> dict[GraphName, Graph]:
    """What `bundle.json` says of each graph: its file, inputs and outputs."""
    return {
        name: Graph(
            file=f"{name}.onnx",
            inputs=tuple(value.name for value in model.graph.input),
            outputs=tuple(value.name for value in model.graph.output),
        )
        for name, model in graphs.items()
    }


def opset_of(graphs: Mapping[GraphName, onnx.ModelProto]) -> int:
    """The highest version of the standard operators that any of the graphs needs."""
    return max(int(entry.version) for model in graphs.values() for entry in model.opset_import)


def write_bundle(
    bundle: Bundle,
    graphs: Mapping[GraphName, onnx.ModelProto],
    destination: Path,
    attachments: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write `graphs` and `bundle.json` to `destination`, replacing what is there; returns what was written.

    `attachments` are further files of the bundle (`reference.npz`). The digests of all files are
    filled in here.
    """
    weights = WeightFile()
    files = {
        f"{name}.onnx": with_external_weights(model, weights).SerializeToString(deterministic=True)
        for name, model in graphs.items()
    }
    files |= {WEIGHTS_FILE: bytes(weights.content), **(attachments or {})}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    written = bundle.model_copy(update={"graphs": describe_graphs(graphs), "sha256": digests})
    with replaced_whole(destination) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / "bundle.json").write_text(written.model_dump_json(indent=1, exclude_defaults=False) + "\n")
    return written


@contextmanager
def replaced_whole(destination: Path) -> Iterator[Path]:
    """A fresh folder that takes the place of `destination` when the block ends without an error.

    Raises:
        OSError: it cannot be written, e.g. for want of space; what was there is unchanged.
    """
    with folder_beside(destination) as part:
        yield part
        for file in part.rglob("*"):
            _reach_the_disk(file)
        part.chmod(0o755)
        _put_in_place(part, destination)


@contextmanager
def folder_beside(destination: Path) -> Iterator[Path]:
    """A hidden folder on the same disk as `destination`, gone when the block ends.

    Raises:
        OSError: something cannot be written, e.g. for want of space; it names `destination` and what is there now.
    """
    part: Path | None = None
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
        yield part
    except OSError as error:
        left = "what was there is unchanged" if destination.exists() else "nothing was written"
        raise OSError(f"{destination} cannot be written: {_reason(error)}; {left}") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _put_in_place(part: Path, destination: Path) -> None:
    if not destination.exists():
        os.replace(part, destination)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{destination.name}.old.", dir=destination.parent))
    try:
        os.replace(destination, old / "bundle")
        try:
            os.replace(part, destination)
        except BaseException:
            os.replace(old / "bundle", destination)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def _reach_the_disk(file: Path) -> None:
    """Some file systems say only now that there is no space."""
    if file.is_file():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _reason(error: OSError) -> str:
    """The system's words; `shutil.copytree` gives a list of (from, to, "[Errno 28] No space left on device: …")."""
    if isinstance(error, shutil.Error):
        return re.sub(r"\[Errno \d+\] ([^:]*).*", r"\1", str(error.args[0][0][2]), flags=re.DOTALL)
    return error.strerror or str(error)


def read_bundle(folder: Path) -> tuple[Bundle, dict[GraphName, onnx.ModelProto]]:
    """A bundle and its graphs with their weights loaded; for verification, not for serving."""
    bundle = Bundle.model_validate_json((folder / "bundle.json").read_text())
    return bundle, {name: onnx.load(folder / graph.file) for name, graph in bundle.graphs.items()}
