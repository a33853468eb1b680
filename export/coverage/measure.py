"""Import a file as a user would, and compare what its bundle computes with torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from export.coverage.architectures.architecture import forget
from export.coverage.truth.compare import lost_by_torch, of_ends, of_parameters
from export.coverage.truth.formula import NormalizedByFormula
from export.coverage.truth.interpreted.network import Interpreted, attribute_of
from export.coverage.truth.matching import best_match, sources_of, values_of
from export.coverage.truth.precision import default_precision
from export.importing import ImportedModel, ImportOptions, import_classifier
from export.importing.command import bundle_of
from export.running.runs import Run
from export.verification.autograd import Truth, truth
from export.verification.parity import NORM_BOUND, float32_bound
from service.contract.bundle_schema import Bundle, GraphName
from service.contract.norms import measure as norms_of
from service.contract.outputs import GRAPHS
from service.contract.runtime.opening import Runtime
from service.contract.runtime.runs import RunHandle

SAMPLES = 2
NAME = "measured"
SEED = 7
COMPARED: tuple[GraphName, ...] = ("batch_norms", "input_gradient")
"""Graphs that give every quantity."""
Labels = Sequence[int | Sequence[int]]
"""The losses that are differentiated: a class for each sample, or for each of its independent labels 1 or 0."""


@dataclass(frozen=True)
class Measurement:
    """A file's bundle beside torch: its size, what it cost, and every difference.

    Args:
        layers: how many layers the bundle has.
        other_parameters: how many parameters belong to no layer.
        seconds: CPU time of the whole import, from the file to the written bundle with every graph tried.
        differences: largest relative difference to torch in float64 over all layers, parameters and samples, by
            quantity; of `probabilities` the largest absolute one.
        rounding: what torch's own float32 loses; empty where no difference exceeds the ordinary bound.
        by_nodes: layers and parameters that equal no parameter of the network, because the exporter computed them
            from several. They are compared with torch running the file's own nodes.
        unproved: layers and parameters that could not be compared, and why.
        left_out: graphs that do not run.
    """

    layers: int
    other_parameters: int
    seconds: float
    differences: dict[str, float] = field(default_factory=dict)
    rounding: dict[str, float] = field(default_factory=dict)
    by_nodes: tuple[str, ...] = ()
    unproved: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def exceeding(self) -> dict[str, float]:
        """The figures beyond their bounds."""
        return {
            name: value
            for name, value in self.differences.items()
            if not value <= float32_bound(self.rounding.get(name, 0.0))
        }


@dataclass(frozen=True)
class Imported:
    """A file's bundle on disk, and what the importer made of the file."""

    model: ImportedModel
    bundle: Bundle
    folder: Path
    seconds: float


def imported(path: Path, options: ImportOptions, bundles: Path) -> Imported:
    """Import the file at `path` to `bundles`, and note the CPU time.

    Raises:
        GradientError: the importer refuses the file.
    """
    started = time.process_time()
    model = import_classifier(path, options)
    bundle = bundle_of(model, NAME, bundles)
    return Imported(model, bundle, bundles / NAME, time.process_time() - started)


def plain_options(classes: int, size: tuple[int, int] | None = None) -> ImportOptions:
    """Return options that leave the pixels in [0, 1] as they are, and number the classes."""
    labels = tuple(f"class {number}" for number in range(classes))
    return ImportOptions(labels=labels, mean=(0.0,) * 3, std=(1.0,) * 3, size=size)


def drawn_for(bundle: Bundle, count: int) -> Tensor:
    """Draw standard normal images in the layout of the bundle's input, float32 [count, …]."""
    return torch.randn(count, *bundle.input.image_shape, generator=torch.Generator().manual_seed(SEED))


def classes_of(samples: int, classes: int) -> list[int]:
    """Return another class for each sample, of so many classes."""
    return [number % classes for number in range(samples)]


def truth_of(network: nn.Module, batch: Tensor, labels: Labels, dtype: torch.dtype = torch.float64) -> Truth:
    """Differentiate by torch, where constants that the network itself makes have `dtype` too."""
    with default_precision(dtype), forgetful(network), NormalizedByFormula():
        return truth(network, batch, labels, dtype)


def runs_in_float64(network: nn.Module, images: Tensor) -> bool:
    """Tell whether the network's own casts to float32 leave it a float64 run."""
    try:
        with torch.no_grad(), default_precision(torch.float64):
            network.double()(images.double())
    except RuntimeError:
        return False
    finally:
        network.float()
    return True


@contextmanager
def forgetful(network: nn.Module) -> Iterator[None]:
    """Have the network compute everything anew in every call."""
    handle = network.register_forward_pre_hook(lambda module, _: forget(module))
    try:
        yield
    finally:
        handle.remove()


def agreement(found: Imported, network: nn.Module, batch: Tensor, labels: Labels) -> Measurement:
    """Compare every output of the bundle's gradient graphs with the network in torch.

    Args:
        network: the source of the file.
        batch: float32 [n, c, h, w], in the layout of the bundle's input.
        labels: of the n samples.
    """
    bundle = found.bundle
    left_out = tuple(name for name in GRAPHS if name not in bundle.graphs)
    if set(COMPARED) & set(left_out):
        return Measurement(len(bundle.layers), len(bundle.other_parameters), found.seconds, left_out=left_out)
    outputs = _outputs(found, batch.numpy(), np.array(labels, dtype=np.int64))
    sources = sources_of(bundle, found.model.model)
    reference, names = best_match(network, values_of(found.model.model, sources), batch)
    expected = truth_of(reference, batch, labels)
    differences = of_parameters(bundle, outputs, expected, names)
    differences |= of_ends(outputs["logits"], outputs["input_gradient"], expected)
    rest = {name: attribute_of(source) for name, source in sources.items() if name not in names}
    unproved: tuple[str, ...] = ()
    if rest:
        try:
            by_nodes = truth_of(interpreted(found.model, [sources[name] for name in rest]), batch, labels)
        except NotImplementedError as error:
            unproved = (str(error), *rest)
        else:
            unproved = tuple(name for name, theirs in rest.items() if theirs not in by_nodes.gradient)
            for quantity, value in of_parameters(bundle, outputs, by_nodes, rest).items():
                differences[quantity] = max(differences.get(quantity, 0.0), value)
    rounding: dict[str, float] = {}
    if not max(differences.values()) <= NORM_BOUND["float32"]:
        rounding = lost_by_torch(truth_of(reference, batch, labels, torch.float32), expected)
    return Measurement(
        layers=len(bundle.layers),
        other_parameters=len(bundle.other_parameters),
        seconds=found.seconds,
        differences=differences,
        rounding=rounding,
        by_nodes=tuple(name for name in rest if name not in unproved),
        unproved=unproved,
        left_out=left_out,
    )


def _outputs(found: Imported, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Run the graphs of the bundle as the service does."""
    runtime = Runtime("cpu")

    def opened(graph: GraphName) -> Run:
        session = runtime.open(found.folder / found.bundle.graphs[graph].file)
        return lambda feeds: session.run(feeds, RunHandle(quiet=True))

    return outputs_of(opened, images, labels)


def outputs_of(opened: Callable[[GraphName], Run], images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return every norm and the input gradient, by the graphs that `opened` prepares."""
    outputs, feeds = dict[str, np.ndarray](), {"input": images, "label": labels}
    for graph in COMPARED:
        run = opened(graph)
        outputs |= norms_of(lambda scale, run=run: run(feeds | {"cotangent_scale": scale}), len(images))  # type: ignore[misc]
    return outputs


def interpreted(model: ImportedModel, sources: Collection[str]) -> Interpreted:
    """Return the network of the file's own nodes, whose parameters include those of `sources` that nodes compute."""
    stored = {tensor.name for tensor in model.model.graph.initializer}
    return Interpreted(model, set(sources) - stored - {""}).eval()
