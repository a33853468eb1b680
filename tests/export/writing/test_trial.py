"""A graph that cannot be served is not written, nor is a bundle whose answers differ from the imported file's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

from export.gradient import differentiate, prepare
from export.graph.errors import UnsupportedGraph
from export.importing import ImportedModel, import_classifier
from export.importing.command import bundle_of, write_what_runs
from export.writing.bundle import graph_files, read_bundle_and_graphs, write_files
from export.writing.trial import Trial
from service.contract.bundle_schema import Bundle, GraphName
from service.contract.outputs import GRAPHS
from tests.export.importing.graphs import classifier, options, saved

Spoil = Callable[[ModelProto], None]


@pytest.fixture
def imported(tmp_path: Path) -> ImportedModel:
    return import_classifier(saved(classifier(), tmp_path), options())


def whole(imported: ImportedModel, folder: Path) -> tuple[Bundle, dict[GraphName, ModelProto]]:
    """A bundle's description and its graphs, as the exporter writes them."""
    bundle = bundle_of(imported, "stranger", folder)
    ready = prepare(imported.model, constants=imported.constants, logits=True)
    return bundle, {name: differentiate(ready, name) for name in GRAPHS}


def reshaped(name: str, shape: list[int]) -> Spoil:
    """Send the output `name` through a Reshape to this shape."""

    def spoil(model: ModelProto) -> None:
        graph = model.graph
        for entry in graph.node:
            for index, output in enumerate(entry.output):
                entry.output[index] = "spoiled" if output == name else output
        graph.initializer.append(numpy_helper.from_array(np.array(shape, dtype=np.int64), "shape"))
        graph.node.append(helper.make_node("Reshape", ["spoiled", "shape"], [name]))
        (spoiled,) = (output for output in graph.output if output.name == name)
        spoiled.type.tensor_type.ClearField("shape")

    return spoil


def without_a_kernel(model: ModelProto) -> None:
    """Give the last node an operator that no runtime has."""
    model.graph.node[-1].op_type = "Smelu"


FAULTS: dict[str, tuple[GraphName, Spoil, str]] = {
    "one batch only": ("input_gradient", reshaped("input_gradient", [1, 3, 6, 6]), "it does not run at batch 3: "),
    "samples in columns": ("weight_norms", reshaped("features", [5, -1]), "at batch 1 its features has shape [5, 1]"),
    "rows of no sample": (
        "activations",
        reshaped("channel_peak", [1, -1]),
        "at batch 3 its channel_peak has shape [1, 15]",
    ),
    "unknown operator": ("feature_maps", without_a_kernel, "it does not load: "),
}


def test_every_graph_of_a_sound_bundle_runs(imported: ImportedModel, tmp_path: Path) -> None:
    bundle, graphs = whole(imported, tmp_path)
    write_files(graph_files(graphs), tmp_path)
    trial = Trial(bundle, graphs, tmp_path)
    assert trial.failures() == {}
    assert trial.logits(np.zeros((6, 3, 6, 6), np.float32)).shape == (6, 4)
    assert set(bundle.graphs) == set(graphs)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_graph_that_does_not_run_is_left_out_and_named(imported: ImportedModel, tmp_path: Path, fault: str) -> None:
    name, spoil, words = FAULTS[fault]
    bundle, graphs = whole(imported, tmp_path)
    spoil(graphs[name])
    written = write_what_runs(bundle, graphs, imported.references, tmp_path / "stranger")
    assert set(written.graphs) == set(graphs) - {name}
    (note,) = set(written.notes) - set(bundle.notes)
    assert note.startswith(f"the graph {name} is left out: {words}")
    assert "\n" not in note
    stored, present = read_bundle_and_graphs(tmp_path / "stranger")
    lying = {path.name: sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "stranger").iterdir()}
    assert {name: digest for name, digest in lying.items() if name != "bundle.json"} == stored.sha256
    assert set(stored.graphs) == set(present) == set(written.graphs)
    assert f"{name}.onnx" not in stored.sha256


def test_without_a_forward_graph_nothing_is_written(imported: ImportedModel, tmp_path: Path) -> None:
    bundle, graphs = whole(imported, tmp_path)
    reshaped("features", [1, -1])(graphs["forward"])
    with pytest.raises(UnsupportedGraph, match="the forward graph cannot be served: at batch 3 its features"):
        write_what_runs(bundle, graphs, imported.references, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_bundle_that_answers_otherwise_than_its_file_is_not_written(imported: ImportedModel, tmp_path: Path) -> None:
    assert imported.reference is not None
    turned = replace(imported.reference, probabilities=np.roll(imported.reference.probabilities, 1, axis=1))
    with pytest.raises(UnsupportedGraph, match="the bundle's probabilities differ from the file's own by"):
        bundle_of(replace(imported, reference=turned), "other", tmp_path)
    assert not (tmp_path / "other").exists()


def test_a_forward_graph_that_mixes_the_samples_of_a_batch_is_not_written(
    imported: ImportedModel, tmp_path: Path
) -> None:
    bundle, graphs = whole(imported, tmp_path)
    graph = graphs["forward"].graph
    for entry in graph.node:
        for index, output in enumerate(entry.output):
            entry.output[index] = "alone" if output == "logits" else output
    graph.initializer.append(numpy_helper.from_array(np.array([0], dtype=np.int64), "samples"))
    graph.node.append(helper.make_node("ReduceMean", ["alone", "samples"], ["mean"]))
    graph.node.append(helper.make_node("Sub", ["alone", "mean"], ["apart"]))
    graph.node.append(helper.make_node("Add", ["alone", "apart"], ["logits"]))
    with pytest.raises(UnsupportedGraph, match="the bundle's probabilities differ from the file's own by"):
        write_what_runs(bundle, graphs, imported.references, tmp_path / "other")


def test_rows_that_the_file_leaves_open_are_not_compared(imported: ImportedModel, tmp_path: Path) -> None:
    assert imported.reference is not None
    partly = imported.reference.probabilities.copy()
    partly[1:] = np.nan
    bundle_of(replace(imported, reference=replace(imported.reference, probabilities=partly)), "partly", tmp_path)
    partly[0] = np.roll(partly[0], 1)
    with pytest.raises(UnsupportedGraph, match="differ from the file's own"):
        bundle_of(replace(imported, reference=replace(imported.reference, probabilities=partly)), "wrong", tmp_path)


def test_a_bundle_without_norms_is_told_so_by_check(imported: ImportedModel, tmp_path: Path) -> None:
    bundle, graphs = whole(imported, tmp_path)
    reshaped("features", [5, -1])(graphs["weight_norms"])
    write_what_runs(bundle, graphs, imported.references, tmp_path / "stranger")
    for verb in (["check", str(tmp_path / "stranger")], ["diagnose", "--bundle", str(tmp_path / "stranger")]):
        more: list[Any] = ["--data", str(tmp_path), "--out", str(tmp_path / "r.html")] if verb[0] == "diagnose" else []
        command = [sys.executable, "-m", "service", *verb, *more]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "no graph weight_norms" in done.stderr
        assert done.stderr.count("\n") == 1
