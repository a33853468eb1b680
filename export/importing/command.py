"""`python -m export onnx`: import an ONNX classifier of any producer as a bundle."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from onnx import ModelProto

from export.gradient import differentiate, prepare
from export.graph.errors import UnsupportedGraph
from export.importing.answer.agreement import Reference
from export.importing.classifier import ImportedModel, import_classifier
from export.importing.flags.errors import OptionMismatch, RuntimeMissing, faults_of
from export.importing.flags.labels import read_labels
from export.importing.flags.options import ImportOptions
from export.writing.bundle import folder_beside, opset_of, write_bundle
from service.contract.bundle_schema import Architecture, Bundle, GraphName, ParityCheck


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add the verb `onnx` to the command line of `python -m export`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "onnx",
        help="an ONNX image classifier of any producer → bundle",
        description="Differentiate an ONNX image classifier and write it as a bundle. Mean and std apply to "
        "RGB in [0, 1]; a fixed batch size is made free.",
    )
    parser.add_argument("model", type=Path, help="the .onnx file")
    parser.add_argument("--name", required=True, help="of the bundle")
    parser.add_argument("--labels", type=Path, required=True, help="one class a line, in the model's order (or JSON)")
    parser.add_argument("--mean", type=_numbers, required=True, help="one value, or one per channel: 0.49,0.48,0.45")
    parser.add_argument("--std", type=_numbers, required=True, help="one value, or one per channel: 0.25,0.24,0.26")
    parser.add_argument("--out", type=Path, default=Path("models/bundles"), help="folder of bundles (%(default)s)")
    parser.add_argument("--size", type=_size, help="HEIGHT,WIDTH where the model takes any")
    parser.add_argument(
        "--scale",
        type=float,
        choices=(1.0, 255.0),
        default=1.0,
        help="255: the model wants 0…255 (and mean may be in it)",
    )
    parser.add_argument("--channels", choices=("rgb", "bgr"), default="rgb")
    parser.add_argument("--layout", choices=("nchw", "nhwc"), help="default: where the axis of 1 or 3 channels is")
    parser.add_argument("--resize", type=_positive, help="shorter side before the crop (default: straight to the size)")
    parser.add_argument("--crop", type=_positive, help="centre crop; must be the model's own size")
    parser.add_argument("--output", help="the tensor of scores, where the model has several outputs")
    return parser


def run(options: argparse.Namespace) -> int:
    """Import, differentiate and write a bundle, or leave nothing behind.

    Raises GradientError as `import_bundle` does.
    """
    bundle = import_bundle(options.model, options.name, import_options(options), options.out)
    print(f"{options.out / bundle.name}: {len(bundle.labels)} classes, {len(bundle.layers)} layers")
    for note in bundle.notes:
        print(f"  {note}")
    return 0


def import_options(options: argparse.Namespace) -> ImportOptions:
    """Return the parsed flags with the labels read; OptionMismatch where the file of labels is unfit."""
    return ImportOptions(
        labels=read_labels(options.labels),
        mean=options.mean,
        std=options.std,
        size=options.size,
        scale=options.scale,
        channels=options.channels,
        layout=options.layout,
        resize=options.resize,
        crop=options.crop,
        output=options.output,
    )


def import_bundle(
    path: Path,
    name: str,
    options: ImportOptions,
    bundles: Path,
    parity: tuple[ParityCheck, ...] = (),
) -> Bundle:
    """Write `bundles/<name>` from the classifier in `path`, whole or not at all.

    Raises GradientError (see `export.graph.errors` and `export.importing.flags.errors`).
    """
    if not name or not all(c.isalnum() or c in "._-" for c in name) or not name[0].isalnum() or len(name) > 64:
        raise OptionMismatch(f"--name {name!r}: up to 64 letters, digits, '.', '_' and '-', a letter or digit first")
    if find_spec("onnxruntime") is None:
        raise RuntimeMissing(
            "every graph is run before it is written, and ONNX Runtime is not installed: pip install '.[export,cpu]'"
        )
    imported = import_classifier(path, options)
    with faults_of(path):
        return bundle_of(imported, name, bundles, parity)


def bundle_of(imported: ImportedModel, name: str, bundles: Path, parity: tuple[ParityCheck, ...] = ()) -> Bundle:
    """Differentiate an imported classifier, try every graph and write the bundle.

    A graph that does not run is left out, and a note says so. Raises UnsupportedGraph where the
    forward graph does not run, or answers otherwise than the file.
    """
    prepared = prepare(imported.model, constants=imported.constants, logits=True)
    names: tuple[GraphName, ...] = get_args(GraphName)
    graphs = {graph: differentiate(prepared, graph) for graph in names}
    if imported.quantized is not None and imported.quantized.forward is not None:
        graphs["forward"] = imported.quantized.forward
    bundle = Bundle(
        name=name,
        labels=imported.labels,
        input=imported.input,
        architecture=Architecture(family="imported", depth=max((layer.depth for layer in prepared.layers), default=1)),
        layers=prepared.layers,
        other_parameters=prepared.other_parameters,
        features=prepared.features,
        graphs={},
        opset=opset_of(graphs),
        producer="contraflow",
        parity=parity,
        quantized=imported.quantized.record if imported.quantized else None,
        notes=(*imported.notes, *prepared.notes),
        sha256={},
    )
    return write_what_runs(bundle, graphs, imported.references, bundles / name)


def write_what_runs(
    bundle: Bundle,
    graphs: Mapping[GraphName, ModelProto],
    references: Mapping[GraphName, Reference],
    destination: Path,
) -> Bundle:
    """Try every graph, compare those of `references` with them, and write the bundle of those that run.

    Raises UnsupportedGraph as `bundle_of` does.
    """
    from export.writing.trial import BATCHES, Trial  # imports ONNX Runtime, which the rest of this file does without

    with folder_beside(destination) as folder:
        trial = Trial(bundle, graphs, folder)
        failures = trial.failures()
        if reason := failures.get("forward"):
            raise UnsupportedGraph(f"the forward graph cannot be served: {reason}")
        for graph in references.keys() - failures.keys():
            for batch in BATCHES:
                references[graph].require(trial.logits(references[graph].images, batch, graph), batch)
    left_out = tuple(f"the graph {graph} is left out: {reason}" for graph, reason in failures.items())
    bundle = bundle.model_copy(update={"notes": (*bundle.notes, *left_out)})
    return write_bundle(bundle, {key: graphs[key] for key in graphs if key not in failures}, destination)


def _numbers(text: str) -> tuple[float, ...]:
    parts = text.strip(" ()[]").replace(",", " ").split()
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers with commas between are needed") from error
    if not numbers:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers with commas between are needed")
    return numbers


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: a positive whole number is needed")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().replace("x", ",").split(",")
    if len(parts) != 2:
        raise argparse.ArgumentTypeError(f"{text!r}: HEIGHT,WIDTH is needed")
    return _positive(parts[0].strip()), _positive(parts[1].strip())
