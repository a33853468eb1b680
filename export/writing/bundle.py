"""Write a bundle to disk, and read one back.

A weight that several graphs share is stored once. A bundle appears whole or not at all: it is written
into a hidden folder beside its destination, and that folder is then renamed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx

from export.graph.branches import all_graphs
from export.graph.errors import one_line
from export.graph.parameters import part_of
from export.writing.structure import structure_of
from export.writing.weights import WeightFile
from service.contract.bundle_schema import BUNDLE_FILE, WEIGHTS_FILE, Bundle, Graph, GraphName
from service.output.system_errors import system_reason


def with_external_weights(
    model: onnx.ModelProto, weights: WeightFile, source: WeightFile | None = None
) -> onnx.ModelProto:
    """Copy `model`, with its large initializers moved into `weights`; those outside the model are in `source`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for graph in all_graphs(copy.graph):
        for tensor in graph.initializer:
            weights.move(tensor, source)
    return copy


def describe_graphs(graphs: Mapping[GraphName, onnx.ModelProto], folder: Path) -> dict[GraphName, Graph]:
    """Describe each graph for `bundle.json`: its file in `folder`, its inputs, its outputs, and its parameters."""
    return {name: _described(model, folder / f"{name}.onnx") for name, model in graphs.items()}


def _described(model: onnx.ModelProto, file: Path) -> Graph:
    graph = Graph(
        file=file.name,
        inputs=tuple(value.name for value in model.graph.input),
        outputs=tuple(value.name for value in model.graph.output),
    )
    if all(part_of(tensor) is None for tensor in model.graph.initializer):
        return graph
    structure, parameters = structure_of(file)
    return graph.model_copy(update={"structure": structure, "parameters": parameters})


def opset_of(graphs: Mapping[GraphName, onnx.ModelProto]) -> int:
    """Return the highest opset version that any of the graphs declares."""
    return max(int(entry.version) for model in graphs.values() for entry in model.opset_import)


def write_bundle(
    bundle: Bundle,
    graphs: Mapping[GraphName, onnx.ModelProto],
    destination: Path,
    attachments: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write `graphs` and `bundle.json` to `destination`, replacing what is there.

    Args:
        bundle: its `graphs` and `sha256` are filled in here.
        attachments: further files of the bundle by name, such as `reference.npz`.

    Returns:
        The bundle as it was written.

    Raises:
        OSError: something cannot be written; what was there is unchanged.
    """
    with replaced_whole(destination) as folder:
        digests = write_files({**graph_files(graphs), **(attachments or {})}, folder)
        return write_whole_description(bundle, graphs, digests, folder)


def graph_files(
    graphs: Mapping[GraphName, onnx.ModelProto], source: WeightFile | None = None
) -> dict[str, bytes | bytearray]:
    """Return the files that graphs are stored in, by name: one for each, and one for the weights of all.

    Weights that are outside the graphs are in `source`.
    """
    weights = WeightFile()
    files: dict[str, bytes | bytearray] = {
        f"{name}.onnx": with_external_weights(model, weights, source).SerializeToString(deterministic=True)
        for name, model in graphs.items()
    }
    return {**files, WEIGHTS_FILE: weights.content}


def write_files(files: Mapping[str, bytes | bytearray], folder: Path) -> dict[str, str]:
    """Write files by name into `folder`; return the sha256 of each."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}


def write_whole_description(
    bundle: Bundle, graphs: Mapping[GraphName, onnx.ModelProto], digests: Mapping[str, str], folder: Path
) -> Bundle:
    """Write and return `bundle` as it describes `graphs` and the files of these digests, which lie in `folder`."""
    written = bundle.model_copy(update={"graphs": describe_graphs(graphs, folder), "sha256": dict(digests)})
    write_description(written, folder)
    return written


def write_description(bundle: Bundle, folder: Path) -> None:
    """Write `bundle.json` into `folder`."""
    (folder / BUNDLE_FILE).write_text(bundle.model_dump_json(indent=1, exclude_defaults=False) + "\n")


def read_description(folder: Path) -> Bundle:
    """Read the `bundle.json` in `folder`.

    Raises:
        OSError: there is none; the message says how to get one.
        ValueError: it is not what a bundle of this version says.
    """
    try:
        content = (folder / BUNDLE_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if not folder.exists():
            raise FileNotFoundError(f"there is no folder {folder}") from None
        numbers = (path.parent.name for path in folder.glob(f"*/{BUNDLE_FILE}"))
        if versions := sorted(filter(str.isdecimal, numbers), key=int):
            listed = f"{', '.join(versions)}; name one, as {folder / versions[-1]}"
            raise FileNotFoundError(f"{folder} holds versions {listed}") from None
        raise FileNotFoundError(
            f"{folder} is no bundle: a folder that holds {BUNDLE_FILE} is needed, "
            "which `contraflow import` makes of a model"
        ) from None
    try:
        return Bundle.parsed(content)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None


def read_bundle_and_graphs(
    folder: Path, needed: Iterable[GraphName] = ()
) -> tuple[Bundle, dict[GraphName, onnx.ModelProto]]:
    """Read a bundle and its graphs with their weights, to verify or rewrite it; digests are not checked.

    Raises:
        OSError, ValueError: as `read_description`; or a graph cannot be read, or the bundle lacks one that is `needed`.
    """
    bundle = read_description(folder)
    for name in needed:
        if name not in bundle.graphs:
            raise ValueError(f"{folder}: it has no graph {name}, which this needs; the bundle's notes say why")
    return bundle, {name: _read_graph(folder, graph.file) for name, graph in bundle.graphs.items()}


def _read_graph(folder: Path, file: str) -> onnx.ModelProto:
    try:
        return onnx.load(folder / file)
    except Exception as error:  # protobuf's, onnx's, the system's: whichever it is, a file was lost or changed
        reason = system_reason(error) if isinstance(error, OSError) else one_line(error)
        raise ValueError(f"{folder}: the bundle is damaged, make it anew: {file} cannot be read ({reason})") from error


@contextmanager
def replaced_whole(destination: Path) -> Iterator[Path]:
    """Give a fresh folder, which takes the place of `destination` when the block ends without an error.

    Raises:
        OSError: it cannot be written, for example because the disk is full; what was there is unchanged.
    """
    with folder_beside(destination) as part:
        yield part
        for file in part.rglob("*"):
            _reach_the_disk(file)
        part.chmod(0o755)
        _put_in_place(part, destination)


@contextmanager
def folder_beside(destination: Path) -> Iterator[Path]:
    """Give a hidden folder on the same disk as `destination`, removed when the block ends.

    Raises:
        OSError: something cannot be written; the message names `destination` and says what is there now.
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
    # A folder that is not empty cannot be replaced by a rename: the old bundle steps aside first, and
    # comes back if the new one cannot take its place.
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
    """Flush a file to disk; some file systems report only then that there is no space."""
    if file.is_file():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())


def _reason(error: OSError) -> str:
    """Return the system's words for an error, such as "No space left on device"."""
    if isinstance(error, shutil.Error):  # copytree lists (from, to, "[Errno 28] No space left on device: …")
        return re.sub(r"\[Errno \d+\] ([^:]*).*", r"\1", str(error.args[0][0][2]), flags=re.DOTALL)
    return system_reason(error)
