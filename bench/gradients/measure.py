"""One table: every run of one network at one batch, timed in turn, after its norms were compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from onnxruntime import InferenceSession

from bench.gradients.agreement import Disagreement, reference_norms
from bench.gradients.needs.memory import peak
from bench.gradients.peers import Norms, PeerRun
from bench.gradients.rivals.rows import OURS, RIVALS, ROWS
from bench.gradients.runs import Bound, Feeds, Kernels, Run, clock_of, interleaved, kernels, session
from bench.gradients.subject import Derived, Subject
from bench.gradients.tables import Table
from service.bundles.warm_up import best_speed
from service.contract.runtime.session import Session

BOUND = 1e-4
"""Largest relative difference of our norms to torch's in float64 that is rounding."""
CHUNKED = ("forward", "activation_norms", "weight_norms")
MOST_IMAGES = 32
"""Most images of a run among which the service chooses."""
PROFILED_SHARE = 0.25
"""Share of a table's seconds that its four profiles may take."""
FEWEST, FEWEST_PROFILED = 2, 3


def measure(subject: Subject, derived: Derived, seconds: float) -> Table:
    """Measure every row for a network at the subject's batch, timed for about `seconds`.

    Raises:
        Disagreement: our norms are not torch's.
    """
    feeds = subject.feeds()
    agreement: dict[str, float] = {}
    runs: dict[str, Run] = {}
    own: dict[str, Norms] = {}
    for graph in OURS:
        runs[graph] = bound = Bound(session(subject.graph(graph)), _given(graph, feeds), "cpu")
        if graph in ("weight_norms", "batch_norms"):
            bound()
            own[graph] = np.sqrt(bound.outputs()["weight_square"].astype(np.float64))
            expected = reference_norms(derived.network, derived.ready, derived.models[graph], feeds)
            agreement[graph] = _require(difference(own[graph], expected))
    runs |= _all_in_chunks(subject)
    others, reasons = _rivals(subject, own["weight_norms"], agreement)
    taken = interleaved({**runs, **others}, seconds, clock_of("cpu"), FEWEST)
    profiles: dict[str, Kernels] = {}
    for graph in OURS:
        affordable = int(seconds * PROFILED_SHARE / len(OURS) / taken[graph])
        repetitions = max(FEWEST_PROFILED, min(60, affordable))
        profiles[graph] = kernels(subject.graph(graph), _given(graph, feeds), repetitions)
    return Table(subject, derived.seconds, taken, profiles, agreement, reasons)


def measure_ours(subject: Subject, derived: Derived, seconds: float) -> Table:
    """Measure our runs alone, in chunks where there are any: what a batch costs that is too large for anything else."""
    chunked = _all_in_chunks(subject)
    whole = {"forward"} | {graph for graph in CHUNKED if not any(run.startswith(graph) for run in chunked)}
    runs: dict[str, Run] = {
        graph: Bound(session(subject.graph(graph)), _given(graph, subject.feeds()), "cpu") for graph in sorted(whole)
    }
    taken = interleaved(runs | chunked, seconds, clock_of("cpu"), FEWEST)
    return Table(subject, derived.seconds, taken, {}, {}, {})


def peaks(subject: Subject, rehearsal: Subject) -> dict[str, int]:
    """Return by how many bytes a process grows that does one row alone; rows that fail are left out."""
    found = {}
    for row in ROWS:
        try:
            found[row] = peak(row, rehearsal, subject)
        except Exception as error:  # whatever a rival raises
            print(f"memory of {row}: {reason(error)}", flush=True)
    return found


def difference(norms: Norms, expected: Norms) -> float:
    """Return the largest relative difference."""
    return float(np.abs(norms / expected - 1).max())


def reason(error: Exception) -> str:
    """Return an exception in one short line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:140]}"


def _require(found: float) -> float:
    if not found <= BOUND:
        raise Disagreement(f"the norms differ from torch's by {found:.1e}")
    return found


def _given(graph: str, feeds: Feeds) -> Feeds:
    return {"input": feeds["input"]} if graph == "forward" else feeds


def _all_in_chunks(subject: Subject) -> dict[str, Run]:
    """Return runs of the batch in parts, where it has more images than the service runs at once of a graph."""
    runs = {}
    for graph in CHUNKED:
        opened = session(subject.graph(graph))
        chunk = best_speed(Session(opened), MOST_IMAGES, diagnostic=graph != "forward").best_batch
        if chunk < subject.batch:
            runs[f"{graph}, in chunks of {chunk}"] = _in_chunks(opened, _given(graph, subject.feeds()), chunk)
    return runs


def _in_chunks(opened: InferenceSession, feeds: Feeds, chunk: int) -> Run:
    starts = range(0, len(feeds["input"]), chunk)
    parts = [Bound(opened, {name: value[at : at + chunk] for name, value in feeds.items()}, "cpu") for at in starts]

    def run() -> None:
        for part in parts:
            part()

    return run


def _rivals(subject: Subject, own: Norms, agreement: dict[str, float]) -> tuple[Mapping[str, PeerRun], dict[str, str]]:
    """Return the runs of the rivals, and the reasons of those that do not run.

    How far the norms of each agree with ours is added to `agreement`.
    """
    runs: dict[str, PeerRun] = {}
    reasons: dict[str, str] = {}
    for name, row in RIVALS.items():
        try:
            run = row.open(subject)
            norms = run()
            if norms is not None:
                agreement[name] = difference(norms, own)
            runs[name] = run
        except Exception as error:  # whatever a rival raises is its row
            reasons[name] = reason(error)
    return runs, reasons


def at(subject: Subject, batch: int) -> Subject:
    """Return the same files at another batch."""
    return replace(subject, batch=batch)
