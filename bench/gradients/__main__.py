"""`make bench-gradients`: what gradient norms cost, as ratios to the forward run → docs/performance.md.

Everything in a table is measured in one process, one thread each, in turn. Before anything is
timed, the norms are compared with torch in float64. All of it takes about ten minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from bench.gradients import peers, tables
from bench.gradients.agreement import Disagreement, reference_norms
from bench.gradients.networks import SUBJECTS, Subject
from bench.gradients.runs import Bound, Run, interleaved, kernels, on_gpu
from bench.gradients.tables import Row, Table
from bench.machine import machine
from bench.page import replace_section
from export.gradient import Prepared, differentiate, prepare
from export.trained.forward import constants_of, forward_graph
from models.networks.network import Network
from service.contract.bundle_schema import GraphName

Array = NDArray[Any]
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
COMMAND = "make bench-gradients"
GRAPHS: tuple[GraphName, ...] = ("activation_norms", "weight_norms", "batch_norms")
BOUND = 1e-4
"""Largest relative difference of norms that is rounding."""
CHUNK = 8
IN_CHUNKS = ", in chunks of 8"
PROFILED_SHARE = 0.25
"""Of a table's seconds, what the four profiles may take."""


def measure(subject: Subject, batch: int, seconds: float) -> Table:
    """Every row for one network at one batch, timed for about `seconds`.

    Raises:
        Disagreement: our norms are not torch's.
    """
    network = subject.build()
    start = time.process_time()
    ready = prepare(
        forward_graph(network, subject.size), constants=constants_of(network) if isinstance(network, Network) else ()
    )
    models: dict[str, onnx.ModelProto] = {name: differentiate(ready, name) for name in GRAPHS}
    derived = time.process_time() - start
    models = {"forward": differentiate(ready, ["logits"]), **models}
    images = np.random.default_rng(0).normal(size=(batch, 3, subject.size, subject.size)).astype(np.float32)
    labels = np.arange(batch) % ready.classes
    feeds = {"input": images, "label": labels, "cotangent_scale": np.ones(batch, np.float32)}
    given = {name: {"input": images} if name == "forward" else feeds for name in models}

    runs: dict[str, Run] = {name: Bound(model, given[name]) for name, model in models.items()}
    if batch > CHUNK:
        for name in ("activation_norms", "weight_norms"):
            runs[f"{name}{IN_CHUNKS}"] = in_chunks(models[name], feeds)
    agreement = {}
    for name in ("weight_norms", "batch_norms"):
        agreement[name] = our_agreement(runs[name], reference_norms(network, ready, models[name], feeds))
    reasons = add_peers(runs, network, ready, images, labels)
    agreement |= agreement_of_peers(runs, reasons)
    measured = interleaved(runs, seconds)
    profiles = {}
    if not on_gpu():
        for name, model in models.items():
            repetitions = max(5, min(60, int(seconds * PROFILED_SHARE / len(models) / measured[name])))
            profiles[name] = kernels(model, given[name], repetitions)
    rows = [Row(name, taken, profiles.get(name), agreement.get(name)) for name, taken in measured.items()]
    rows += [Row(name, None, reason=reason) for name, reason in reasons.items()]
    return Table(subject.name, subject.size, batch, tuple(rows), derived)


def in_chunks(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> Run:
    """The same batch in parts of `CHUNK`, as the service runs it where that is faster: they stay in the cache."""
    batch = len(feeds["input"])
    parts = [
        Bound(model, {name: value[start : start + CHUNK] for name, value in feeds.items()})
        for start in range(0, batch, CHUNK)
    ]

    def run() -> None:
        for part in parts:
            part()

    return run


def our_agreement(run: Run, expected: Array) -> float:
    """Largest relative difference of the norms of one of our graphs to `expected`.

    Raises:
        Disagreement: it is more than `BOUND`.
    """
    assert isinstance(run, Bound)
    run()
    found = float(np.abs(np.sqrt(run.outputs()["weight_square"].astype(np.float64)) / expected - 1).max())
    if not found <= BOUND:
        raise Disagreement(f"the norms differ from torch's by {found:.1e}")
    return found


def add_peers(
    runs: dict[str, Run], network: nn.Module, ready: Prepared, images: Array, labels: Array
) -> dict[str, str]:
    """The peers that run, added to `runs`; the reasons of those that do not."""
    device = torch_device()
    x, y, network = torch.from_numpy(images).to(device), torch.from_numpy(labels).to(device), network.to(device)
    named: dict[str, peers.Peer] = {
        "torch forward": peers.torch_forward,
        "torch forward + backward": peers.torch_backward,
        "torch vmap(grad)": peers.functorch,
        "BackPACK BatchL2Grad": peers.backpack,
        "Opacus, normalization frozen": peers.opacus,
        "onnx-ad, input gradient alone": lambda *_: peers.onnx_ad(differentiate(ready, ["logits"]), images),
    }
    reasons = {}
    for name, peer in named.items():
        try:
            run = peer(network, x, y)
            run()
            runs[name] = synchronized(run) if device == "cuda" and "onnx" not in name else run
        except Exception as error:  # whatever a peer raises is its row
            reasons[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:140]}"
    return reasons


def agreement_of_peers(runs: dict[str, Run], reasons: dict[str, str]) -> dict[str, float]:
    """Largest relative difference of peers' norms to vmap(grad); a peer that is wrong is no row."""
    if "torch vmap(grad)" not in runs:
        return {}
    expected, found = runs["torch vmap(grad)"](), {}
    for name in [name for name in runs if name.startswith(("BackPACK", "Opacus"))]:
        found[name] = float(np.abs(runs[name]() / expected - 1).max())
        if not found[name] <= BOUND:
            reasons[name] = f"its norms differ from vmap(grad) by {found.pop(name):.1e}"
            del runs[name]
    return found


def synchronized(run: Run) -> Run:
    """`run`, until the GPU has done it."""

    def whole() -> Any:
        result = run()
        torch.cuda.synchronize()
        return result

    return whole


def torch_device() -> str:
    """Where torch's rows run: on the GPU where ONNX Runtime's do, too."""
    return "cuda" if on_gpu() and torch.cuda.is_available() else "cpu"


def conditions() -> str:
    """What was measured on, in one sentence."""
    versions = [f"ONNX Runtime {onnxruntime.__version__}", f"torch {torch.__version__}"]
    for name, package in (("BackPACK", "backpack-for-pytorch"), ("Opacus", "opacus"), ("onnx-ad", "onnx-ad")):
        try:
            versions.append(f"{name} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"without {name}")
    where = (
        f"{torch.cuda.get_device_name()}, inputs and outputs bound to it" if torch_device() == "cuda" else "one thread"
    )
    return f"Measured on {machine()}, {where}; {', '.join(versions)}."


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gradients", description=__doc__)
    parser.add_argument("--seconds", type=float, default=40.0, help="of timing per table (default: %(default)s)")
    parser.add_argument("--only", nargs="*", help="names of networks")
    parser.add_argument("--print", action="store_true", help="leave docs/performance.md alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measured = []
    for subject in SUBJECTS:
        if arguments.only and subject.name not in arguments.only:
            continue
        for batch in subject.batches:
            measured.append(measure(subject, batch, arguments.seconds))
            print(tables.markdown(measured[-1]), flush=True)
    text = tables.section(conditions(), measured)
    if arguments.print:
        print(text)
    else:
        replace_section(PAGE, COMMAND, text)


if __name__ == "__main__":
    main()
