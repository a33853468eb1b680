"""One table: every run of one network at one batch, timed in turn, after its norms were compared with torch's."""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import onnx
import torch
from torch import nn

from bench.gradients import peers
from bench.gradients.agreement import Disagreement, reference_norms
from bench.gradients.networks import Subject
from bench.gradients.peers import Norms, Peer, PeerRun
from bench.gradients.runs import Bound, Feeds, Run, interleaved, kernels, on_gpu, torch_device
from bench.gradients.tables import Row, Table
from export.gradient import Prepared, differentiate, prepare
from export.trained.forward import constants_of, forward_graph
from service.contract.bundle_schema import GraphName

GRAPHS: tuple[GraphName, ...] = ("activation_norms", "weight_norms", "batch_norms")
BOUND = 1e-4
"""Largest relative difference of norms that is rounding."""
CHUNK = 8
IN_CHUNKS = ", in chunks of 8"
PROFILED_SHARE = 0.25
"""Share of a table's seconds that its four profiles may take."""
REFERENCE_PEER = "torch vmap(grad)"


def measure(subject: Subject, batch: int, seconds: float) -> Table:
    """Measure every row for one network at one batch, timed for about `seconds`.

    Raises:
        Disagreement: our norms are not torch's.
    """
    network = subject.build()
    start = time.process_time()
    ready = prepared(network, subject.size)
    models: dict[str, onnx.ModelProto] = {name: differentiate(ready, name) for name in GRAPHS}
    derived = time.process_time() - start
    models = {"forward": differentiate(ready, ["logits"]), **models}
    feeds = made_up(subject.size, batch, ready.classes)
    given = {name: {"input": feeds["input"]} if name == "forward" else feeds for name in models}

    bound = {name: Bound(model, given[name]) for name, model in models.items()}
    agreement = {}
    for name in ("weight_norms", "batch_norms"):
        agreement[name] = our_agreement(bound[name], reference_norms(network, ready, models[name], feeds))
    others, reasons = running_peers(network, ready, feeds)
    agreement |= agreement_of_peers(others, reasons)
    runs: dict[str, Run] = dict(bound)
    if batch > CHUNK:
        runs |= {f"{name}{IN_CHUNKS}": in_chunks(models[name], feeds) for name in ("activation_norms", "weight_norms")}
    measured = interleaved({**runs, **others}, seconds)
    profiles = {}
    if not on_gpu():
        for name, model in models.items():
            repetitions = max(5, min(60, int(seconds * PROFILED_SHARE / len(models) / measured[name])))
            profiles[name] = kernels(model, given[name], repetitions)
    rows = [Row(name, taken, profiles.get(name), agreement.get(name)) for name, taken in measured.items()]
    rows += [Row(name, None, reason=reason) for name, reason in reasons.items()]
    return Table(subject.name, subject.size, batch, tuple(rows), derived)


def prepared(network: nn.Module, size: int) -> Prepared:
    """Return the network's forward graph, ready to be differentiated."""
    return prepare(forward_graph(network, size), constants=constants_of(network))


def made_up(size: int, batch: int, classes: int) -> Feeds:
    """Return images of noise, labels and scales for the gradient graphs."""
    images = np.random.default_rng(0).normal(size=(batch, 3, size, size)).astype(np.float32)
    return {"input": images, "label": np.arange(batch) % classes, "cotangent_scale": np.ones(batch, np.float32)}


def in_chunks(model: onnx.ModelProto, feeds: Feeds) -> Run:
    """Return a run of the same batch in parts of `CHUNK`, which stay in the cache; the service runs large ones so."""
    starts = range(0, len(feeds["input"]), CHUNK)
    parts = [Bound(model, {name: value[at : at + CHUNK] for name, value in feeds.items()}) for at in starts]

    def run() -> None:
        for part in parts:
            part()

    return run


def our_agreement(run: Bound, expected: Norms) -> float:
    """Return the largest relative difference of the norms of one of our graphs to `expected`.

    Raises:
        Disagreement: it is more than `BOUND`.
    """
    run()
    found = float(np.abs(np.sqrt(run.outputs()["weight_square"].astype(np.float64)) / expected - 1).max())
    if not found <= BOUND:
        raise Disagreement(f"the norms differ from torch's by {found:.1e}")
    return found


def running_peers(network: nn.Module, ready: Prepared, feeds: Feeds) -> tuple[dict[str, PeerRun], dict[str, str]]:
    """Return the runs of the peers that run, and the reasons of those that do not."""
    device = torch_device()
    images, labels = (torch.from_numpy(feeds[name]).to(device) for name in ("input", "label"))
    network = network.to(device)
    named: dict[str, Peer] = {
        "torch forward": peers.torch_forward,
        "torch forward + backward": peers.torch_backward,
        REFERENCE_PEER: peers.functorch,
        "BackPACK BatchL2Grad": peers.backpack,
        "Opacus, normalization frozen": peers.opacus,
        "onnx-ad, input gradient alone": lambda *_: peers.onnx_ad(differentiate(ready, ["logits"]), feeds["input"]),
    }
    runs, reasons = {}, {}
    for name, peer in named.items():
        try:
            run = peer(network, images, labels)
            run()
            runs[name] = partial(synchronized, run) if device == "cuda" and "onnx" not in name else run
        except Exception as error:  # whatever a peer raises is its row
            reasons[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:140]}"
    return runs, reasons


def agreement_of_peers(runs: dict[str, PeerRun], reasons: dict[str, str]) -> dict[str, float]:
    """Return the largest relative difference of peers' norms to vmap(grad); one that is wrong becomes a reason."""
    if REFERENCE_PEER not in runs:
        return {}
    expected, found = runs[REFERENCE_PEER](), {}
    for name in [name for name in runs if name.startswith(("BackPACK", "Opacus"))]:
        norms = runs[name]()
        assert norms is not None
        assert expected is not None
        found[name] = float(np.abs(norms / expected - 1).max())
        if not found[name] <= BOUND:
            reasons[name] = f"its norms differ from vmap(grad) by {found.pop(name):.1e}"
            del runs[name]
    return found


def synchronized(run: PeerRun) -> Norms | None:
    """Run until the GPU is done."""
    result = run()
    torch.cuda.synchronize()
    return result
