"""`python -m export bundle`: make a verified bundle of a finished training run, and verify one against its run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from torch import nn

from export.gradient import Prepared, differentiate, prepare
from export.statistics.evaluate import normalized
from export.statistics.record import measured, npz, spread
from export.trained.forward import TrainedRun, constants_of, forward_graph, read_run
from export.verification.recheck import noise
from export.verification.verify import verify
from export.writing.bundle import opset_of, read_bundle_and_graphs, write_bundle
from models.training.data import DataSet
from service.contract.bundle_schema import (
    Architecture,
    Bundle,
    EpochRecord,
    FinalRecord,
    GraphName,
    InputSpec,
    ParityCheck,
    TrainingRecord,
)
from service.contract.outputs import GRAPHS

VERIFIED_IMAGES = 8
NORMALIZATION_FILE = "normalization.npz"
"""Holds the BatchNorms' parameters and statistics, which are folded into the forward graph's weights."""


def all_graphs(prepared: Prepared) -> dict[GraphName, onnx.ModelProto]:
    """Derive every graph of a bundle; each computes one set of outputs (`GraphName`)."""
    return {name: differentiate(prepared, name) for name in GRAPHS}


def export_run(run_folder: Path, name: str, data: DataSet, bundles: Path) -> Bundle:
    """Export the run's network, differentiate it, verify the graphs against torch, and write `bundles/<name>`.

    Raises:
        RunError: the run cannot be read.
        DataError: the images of `data` have another size than those of the run.
        ParityError: a graph disagrees with torch; nothing is written.
        OSError: the bundle cannot be written; what was there is unchanged.
    """
    run = read_run(run_folder)
    size = int(run.record["image_size"])
    forward, constants = forward_graph(run.network, size), constants_of(run.network)
    prepared = prepare(forward, constants=constants)
    graphs = all_graphs(prepared)
    spec = InputSpec(height=size, width=size, mean=tuple(run.record["mean"]), std=tuple(run.record["std"]))
    verified = normalized(spread(data.test, VERIFIED_IMAGES).images, spec)
    parity = verify(run.network, forward, constants, graphs, verified)
    remembered, separated, attachments = measured(graphs, prepared.layers, spec, data.train)
    bundle = Bundle(
        name=name,
        labels=tuple(run.record["labels"]),
        input=spec,
        architecture=_architecture(run),
        layers=prepared.layers,
        other_parameters=prepared.other_parameters,
        features=prepared.features,
        graphs={},
        opset=opset_of(graphs),
        producer="contraflow",
        training=_training_record(run.record),
        baseline=remembered,
        separability=separated,
        parity=parity,
        notes=tuple(prepared.notes),
        sha256={},
    )
    if state := normalization_state(run.network):
        attachments |= {NORMALIZATION_FILE: npz(state)}
    return write_bundle(bundle, graphs, bundles / name, attachments)


def verify_run(run_folder: Path, bundle_folder: Path) -> tuple[ParityCheck, ...]:
    """Verify a bundle, as it lies on disk, against its training run in torch, on noise.

    Raises:
        RunError: the run cannot be read.
        ParityError: a bound is missed.
    """
    run = read_run(run_folder)
    bundle, graphs = read_bundle_and_graphs(bundle_folder)
    forward = forward_graph(run.network, bundle.input.height)
    return verify(run.network, forward, constants_of(run.network), graphs, noise(bundle))


def normalization_state(network: nn.Module) -> dict[str, NDArray[Any]]:
    """Collect every BatchNorm's scale, shift, mean and variance by torch's name, for `export.trained.rewrite`."""
    prefixes = tuple(f"{name}." for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d))
    return {
        name: value.detach().numpy()
        for name, value in network.state_dict().items()
        if name.startswith(prefixes) and not name.endswith("num_batches_tracked")
    }


def _architecture(run: TrainedRun) -> Architecture:
    described = run.network.architecture
    return Architecture(
        family="residual" if described.family == "residual" else "plain",
        depth=described.depth,
        activation=described.activation,
        normalization=described.normalization,
    )


def _training_record(record: dict[str, Any]) -> TrainingRecord:
    return TrainingRecord(
        data_set=record["data_set"],
        recipe=record["recipe"],
        seed=record["seed"],
        epochs=tuple(EpochRecord(**_finite(epoch)) for epoch in record["epochs"]),
        final=FinalRecord(**_finite(record["final"])),
    )


def _finite(value: Any) -> Any:
    """Replace numbers that are not finite by None, at any depth: JSON has neither NaN nor infinity."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
