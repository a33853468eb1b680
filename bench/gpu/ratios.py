"""Norms beside the forward run and beside torch, on the same card.

All runs of a row have their images on the device, and take turns. torch runs eagerly, its convolutions chosen by
cuDNN's benchmark, the layout channels last; neither side uses TensorFloat-32.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from bench.gpu.nets import RESNET50, SETTLED_ON, net
from bench.gpu.part import Part, Row, Setting, attempt, failures, reason
from bench.gpu.sessions import Fixed, opened
from bench.gradients import peers
from bench.gradients.peers import Peer
from bench.gradients.runs import Run, clock_of, interleaved
from bench.harness.page import table

GRAPHS = ("forward", "activation_norms", "weight_norms", "input_gradient")
PEERS: dict[str, Peer] = {
    "torch forward": peers.torch_forward,
    "torch forward + backward": peers.torch_backward,
    "torch vmap(grad)": peers.functorch,
}
ORDER = (
    *(("resnet20", batch) for batch in (1, 32)),
    *((RESNET50, batch) for batch in (1, 32)),
    *(("resnet56", batch) for batch in (1, 32)),
    *((name, 8) for name in ("resnet20", RESNET50, "resnet56")),
    *((name, 256) for name in ("resnet20", "resnet56", RESNET50)),
)
"""Nets and batches, the most important first."""
SHARE_OF_TIMING = 0.4
"""Share of the seconds; the rest goes into derivation, first runs and cuDNN's choice."""


def measure(setting: Setting) -> Iterator[Row]:
    _prepare_torch()
    order = (("resnet20", 2),) if setting.small else ORDER
    seconds = 0.2 if setting.small else setting.seconds * SHARE_OF_TIMING / len(order)
    for name, batch in order:
        yield from attempt(setting, f"{name}/{batch}", partial(_row, setting, name, batch, seconds))
        if setting.device == "cuda":
            torch.cuda.empty_cache()  # the runtime has an allocator of its own


def _prepare_torch() -> None:
    """Have torch's convolutions and products computed in float32, by the fastest way that cuDNN finds."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True


def _row(setting: Setting, name: str, batch: int, seconds: float) -> Row:
    """Return milliseconds of each run, and the reasons of those that do not run.

    Raises:
        RuntimeError: none does.
    """
    runs: dict[str, Run] = {}
    reasons: dict[str, str] = {}
    for run, make in _makers(setting, name, batch).items():
        try:
            began = time.perf_counter()
            made = make()
            made()
            runs[run] = made
            print(f"    {run}: first answer after {time.perf_counter() - began:.1f} s", flush=True)
        except Exception as error:
            reasons[run] = reason(error)
    if not runs:
        raise RuntimeError(f"nothing runs: {next(iter(reasons.values()))}")
    taken = interleaved(runs, seconds, clock_of(setting.device))
    ms = {run: value * 1e3 for run, value in taken.items()}
    return {"net": name, "batch": batch, "ms": ms, "reasons": reasons}


def _makers(setting: Setting, name: str, batch: int) -> dict[str, Callable[[], Run]]:
    """Return what makes each run, by the name of its line."""
    makers: dict[str, Callable[[], Run]] = {graph: partial(_ours, setting, name, graph, batch) for graph in GRAPHS}
    for peer, function in PEERS.items():
        makers[peer] = partial(_peer, setting, name, function, batch)
    return makers


def _ours(setting: Setting, name: str, graph: str, batch: int) -> Run:
    ours = net(name, setting.bundles)
    return Fixed(opened(ours.models[graph], setting.device), ours.feeds(graph, batch), setting.device)


def _peer(setting: Setting, name: str, peer: Peer, batch: int) -> Run:
    feeds = net(name, setting.bundles).feeds("weight_norms", batch)
    images = _channels_last(torch.from_numpy(feeds["input"]).to(setting.device))
    labels = torch.from_numpy(feeds["label"]).to(setting.device)
    return peer(_network(name, setting.device), images, labels)


@cache
def _network(name: str, device: str) -> nn.Module:
    """Return the same architecture for torch, with random weights, which take the same time."""
    from bench.bundles.networks import catalogue, resnet50

    network = resnet50(SETTLED_ON) if name == RESNET50 else catalogue(name)
    return copy.deepcopy(network).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def section(rows: Sequence[Row]) -> str:
    """Return one table for each net, with a line for each batch and run, and the runs that failed."""
    parts = []
    for name in dict.fromkeys(row["net"] for row in rows):
        own = sorted((row for row in rows if row["net"] == name), key=lambda row: row["batch"])
        header = "batch | run | ms | × forward | ÷ torch forward + backward | images/s"
        parts += [f"#### {name}", table(header, [line for row in own for line in _lines(row)])]
    failed = [(why, f"`{row['key']}`, {run}") for row in rows for run, why in row["reasons"].items()]
    return "\n\n".join([*parts, *failures("Runs that failed", failed)])


def _lines(row: dict[str, Any]) -> Iterator[str]:
    ms: dict[str, float] = row["ms"]
    forward, both = ms.get("forward"), ms.get("torch forward + backward")
    for run, value in ms.items():
        ratios = [f"{value / base:.2f}" if base else "" for base in (forward, both)]
        yield f"{row['batch']} | {run} | {value:.3f} | {' | '.join(ratios)} | {row['batch'] / value * 1e3:,.0f}"


PART = Part("ratios", measure, section)
