"""One table: every run of one network at one batch, timed in turn, after its norms were compared with torch's."""

from __future__ import annotations

import time

import numpy as np
import onnx
import torch
from torch import nn

from bench.gradients import peers
from bench.gradients.agreement import Disagreement, reference_norms
from bench.gradients.peers import Norms, Peer, PeerRun
from bench.gradients.runs import Bound, Feeds, Run, clock_of, interleaved, kernels, session
from bench.gradients.tables import BACKWARD, VMAP, Table
from export.gradient import Prepared, differentiate, prepare
from export.trained.forward import constants_of, forward_graph
from service.contract.bundle_schema import GraphName

GRAPHS: tuple[GraphName, ...] = ("activation_norms", "weight_norms", "batch_norms")
BOUND = 1e-4
"""Largest relative difference of norms that is rounding."""
CHUNK = 8
PROFILED_SHARE = 0.25
"""Share of a table's seconds that its four profiles may take."""


def measure(name: str, network: nn.Module, size: int, batch: int, seconds: float) -> Table:
    """Measure every row for one network on pictures of `size` × `size` pixels, timed for about `seconds`.

    Raises:
        Disagreement: our norms are not torch's.
    """
    start = time.process_time()
    ready = prepare(forward_graph(network, size), constants=constants_of(network))
    models: dict[str, onnx.ModelProto] = {graph: differentiate(ready, graph) for graph in GRAPHS}
    derived = time.process_time() - start
    models = {"forward": differentiate(ready, ["logits"]), **models}
    feeds = made_up(size, batch, ready.classes)
    given = {graph: {"input": feeds["input"]} if graph == "forward" else feeds for graph in models}

    bound = {graph: Bound(session(model), given[graph], "cpu") for graph, model in models.items()}
    agreement = {}
    for graph in ("weight_norms", "batch_norms"):
        bound[graph]()
        norms = np.sqrt(bound[graph].outputs()["weight_square"].astype(np.float64))
        agreement[graph] = difference(norms, reference_norms(network, ready, models[graph], feeds))
    others, reasons = running_peers(network, ready, feeds, agreement)
    runs: dict[str, Run] = dict(bound)
    if batch > CHUNK:
        for graph in ("activation_norms", "weight_norms"):
            runs[f"{graph}, in chunks of {CHUNK}"] = in_chunks(models[graph], feeds)
    taken = interleaved({**runs, **others}, seconds, clock_of("cpu"))
    profiles = {}
    for graph, model in models.items():
        repetitions = max(5, min(60, int(seconds * PROFILED_SHARE / len(models) / taken[graph])))
        profiles[graph] = kernels(model, given[graph], repetitions)
    return Table(name, size, batch, derived, taken, profiles, agreement, reasons)


def made_up(size: int, batch: int, classes: int) -> Feeds:
    """Return images of noise, labels and scales for the gradient graphs."""
    images = np.random.default_rng(0).normal(size=(batch, 3, size, size)).astype(np.float32)
    return {"input": images, "label": np.arange(batch) % classes, "cotangent_scale": np.ones(batch, np.float32)}


def in_chunks(model: onnx.ModelProto, feeds: Feeds) -> Run:
    """Return a run of the same batch in parts of `CHUNK`, which stay in the cache; the service runs large ones so."""
    starts = range(0, len(feeds["input"]), CHUNK)
    chunks = [{name: value[at : at + CHUNK] for name, value in feeds.items()} for at in starts]
    parts = [Bound(session(model), chunk, "cpu") for chunk in chunks]

    def run() -> None:
        for part in parts:
            part()

    return run


def difference(norms: Norms, expected: Norms) -> float:
    """Return the largest relative difference.

    Raises:
        Disagreement: it is more than `BOUND`.
    """
    found = float(np.abs(norms / expected - 1).max())
    if not found <= BOUND:
        raise Disagreement(f"the norms differ from torch's by {found:.1e}")
    return found


def running_peers(
    network: nn.Module, ready: Prepared, feeds: Feeds, agreement: dict[str, float]
) -> tuple[dict[str, PeerRun], dict[str, str]]:
    """Return the runs of the peers, and the reasons of those that do not run or whose norms are not vmap(grad)'s.

    How far the norms of the others agree with vmap(grad)'s is added to `agreement`.
    """
    images, labels = (torch.from_numpy(feeds[name]) for name in ("input", "label"))
    named: dict[str, Peer] = {
        "torch forward": peers.torch_forward,
        BACKWARD: peers.torch_backward,
        VMAP: peers.functorch,
        "BackPACK BatchL2Grad": peers.backpack,
        "Opacus, normalization frozen": peers.opacus,
        "onnx-ad, input gradient alone": lambda *_: peers.onnx_ad(differentiate(ready, ["logits"]), feeds["input"]),
    }
    runs: dict[str, PeerRun] = {}
    reasons: dict[str, str] = {}
    expected: Norms | None = None
    for name, peer in named.items():
        try:
            run = peer(network, images, labels)
            norms = run()
            if name == VMAP:
                expected = norms
            elif norms is not None and expected is not None:
                agreement[name] = difference(norms, expected)
            runs[name] = run
        except Exception as error:  # whatever a peer raises is its row
            reasons[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:140]}"
    return runs, reasons
