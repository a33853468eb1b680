"""`python -m export onnx`: import an ONNX classifier of any producer as a bundle."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from onnx import ModelProto

from export.gradient import Prepared, differentiate, prepare
from export.graph.errors import GradientError, SamplesInTheWay, UnsupportedGraph, one_line
from export.importing.answer.agreement import Reference
from export.importing.classifier import ImportedModel, import_classifier
from export.importing.file.reading import parsed
from export.importing.flags.arguments import stated_by_flags
from export.importing.flags.errors import OptionMismatch, RuntimeMissing, faults_of
from export.importing.flags.options import ImportOptions
from export.importing.flags.presets import PRESETS
from export.importing.folders.finding import FoundModel, find_models
from export.importing.folders.stated import Statements, facts_of
from export.importing.provenance import settled_values
from export.importing.resolving import flag_statements, resolve
from export.writing.bundle import graph_files, opset_of, replaced_whole, write_files, write_whole_description
from export.writing.placing import FIRST, Place, place_of
from export.writing.weights import WeightFile
from service.contract.bundle_schema import NOT_SERVED, Architecture, Bundle, GraphName, ParityCheck
from service.contract.model_names import fit_name
from service.output.console import told_meanwhile
from service.output.extras import how_to_install


def run(options: argparse.Namespace) -> int:
    """Import what the path means, each version of it, and print what was settled and why.

    Raises GradientError as `import_bundle` does; a version is written whole or not at all.
    """
    given = stated_by_flags(options)
    flags = flag_statements(given, options.preprocessing, PRESETS.get(options.preprocessing, {}), options.labels)
    found = find_models(options.model, options.file)
    if options.version and len(found) > 1:
        raise OptionMismatch(f"--version: {options.model} has {len(found)} versions of its own; name the folder of one")
    require_runtime()
    with told_meanwhile() as tell:
        for model in found:
            with _named(options.model, model.version if len(found) > 1 else None):
                tell("\n".join(_import_one(model, flags, options)))
    return 0


@contextmanager
def _named(path: Path, version: str | None) -> Iterator[None]:
    """Let an error say of which model it is, and of which version where there are several."""
    try:
        yield
    except GradientError as error:
        words = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise GradientError(words if version is None else f"version {version}: {words}") from error


def _import_one(found: FoundModel, flags: Statements, options: argparse.Namespace) -> list[str]:
    """Import one version, and return what was settled and why, in lines."""
    name = fit(options.name, found)
    version = str(options.version) if options.version else found.version
    with faults_of(found.file):
        model = parsed(found.file)
        resolved = resolve(found, facts_of(found.file, model), flags)
    place = place_of(options.out, name, version, replace=options.replace)
    imported = import_classifier(found.file, resolved.options, model)
    imported = replace(imported, notes=(*imported.notes, *resolved.notes))
    settled = settled_values(imported.input, imported.labels, resolved.sources)
    with faults_of(found.file):
        bundle = bundle_of(imported, name, options.out, place=place, provenance=settled)
    width = max(map(len, settled))
    return [
        f"{place.folder}: {len(bundle.labels)} classes, {len(bundle.layers)} layers",
        *(f"  {key:<{width}}  {value}" for key, value in settled.items()),
        *(f"  {note}" for note in bundle.notes),
    ]


def fit(said: str | None, found: FoundModel) -> str:
    """Return the name of the bundle: the one said, else that of the path; OptionMismatch where it is unfit."""
    name = found.name if said is None else said
    if not name or fit_name(name) != name:
        raise OptionMismatch(f"--name {name!r}: up to 64 of A-Z, a-z, 0-9, '.', '_' and '-', a letter or digit first")
    return name


def require_runtime() -> None:
    """Raise RuntimeMissing where ONNX Runtime is not installed."""
    if find_spec("onnxruntime") is None:
        raise RuntimeMissing(f"every graph is run before it is written, and {how_to_install('onnxruntime')}")


def import_bundle(
    path: Path,
    name: str,
    options: ImportOptions,
    bundles: Path,
    parity: tuple[ParityCheck, ...] = (),
) -> Bundle:
    """Write `bundles/<name>` from the classifier in the file at `path`, whole or not at all.

    Raises GradientError (see `export.graph.errors` and `export.importing.flags.errors`).
    """
    require_runtime()
    imported = import_classifier(path, options)
    with faults_of(path):
        return bundle_of(imported, name, bundles, parity)


def bundle_of(
    imported: ImportedModel,
    name: str,
    bundles: Path,
    parity: tuple[ParityCheck, ...] = (),
    *,
    place: Place | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Bundle:
    """Differentiate an imported classifier, try every graph and write the bundle: to `bundles/<name>`, or its `place`.

    A graph that does not run is left out, and a note says so. Raises UnsupportedGraph where the
    forward graph does not run, or answers otherwise than the file.
    """
    place = place or Place(bundles / name, FIRST)
    prepared = prepare(imported.model, constants=imported.constants, logits=True, label_kind=imported.label_kind)
    weights = WeightFile()
    graphs, without = _derived(prepared, weights)
    if imported.quantized is not None and imported.quantized.forward is not None:
        graphs["forward"] = imported.quantized.forward
    bundle = Bundle(
        name=name,
        version=place.version,
        labels=imported.labels,
        label_kind=imported.label_kind,
        input=imported.input,
        architecture=Architecture(family="imported", depth=max((layer.depth for layer in prepared.layers), default=1)),
        layers=prepared.layers,
        other_parameters=prepared.other_parameters,
        features=prepared.features,
        graphs={},
        opset=opset_of(graphs),
        producer="contraflow",
        parity=parity,
        provenance=dict(provenance or {}),
        quantized=imported.quantized.record if imported.quantized else None,
        notes=(*imported.notes, *prepared.notes, *without),
        sha256={},
    )
    written = write_what_runs(bundle, graphs, imported.references, place.folder, weights)
    place.clear_superseded()
    return written


def _derived(prepared: Prepared, weights: WeightFile) -> tuple[dict[GraphName, ModelProto], list[str]]:
    """Derive every graph; note which could not be: those of slopes alone may fail where all others are there."""
    names: tuple[GraphName, ...] = get_args(GraphName)
    graphs, notes = {}, []
    for graph in names:
        try:
            graphs[graph] = differentiate(prepared, graph, stored=weights.stored)
        except (GradientError, SamplesInTheWay) as error:
            if graph != NOT_SERVED:
                raise
            notes.append(f"the graph {graph} is left out: {one_line(error)}")
    return graphs, notes


def write_what_runs(
    bundle: Bundle,
    graphs: Mapping[GraphName, ModelProto],
    references: Mapping[GraphName, Reference],
    destination: Path,
    weights: WeightFile | None = None,
) -> Bundle:
    """Try every graph, compare those of `references` with them, and write the bundle of those that run.

    `weights` has the weights that are not in the graphs themselves.
    Raises UnsupportedGraph as `bundle_of` does.
    """
    from export.writing.trial import Trial  # imports ONNX Runtime, which the rest of this file does without

    with replaced_whole(destination) as folder:
        digests = write_files(graph_files(graphs, weights), folder)
        trial = Trial(bundle, graphs, folder, references)
        failures = trial.failures()
        if reason := failures.get("forward"):
            raise UnsupportedGraph(f"the forward graph cannot be served: {reason}")
        for graph in references.keys() - failures.keys():
            references[graph].require(partial(trial.logits, graph=graph))
        running = {graph: model for graph, model in graphs.items() if graph not in failures}
        if failures:  # their weights are to go too
            for file in digests:
                (folder / file).unlink()
            digests = write_files(graph_files(running, weights), folder)
        left_out = tuple(f"the graph {graph} is left out: {reason}" for graph, reason in failures.items())
        bundle = bundle.model_copy(update={"notes": (*bundle.notes, *left_out)})
        return write_whole_description(bundle, running, digests, folder)
