"""The CUDA provider's options: what each costs at the first run, and what it gains at the others."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

from bench.gpu.nets import Net
from bench.gpu.numbers.agreement import errors
from bench.gpu.part import Row, reason
from bench.gpu.sessions import Fixed, Options, opened
from bench.gradients.runs import clock_of, interleaved

PLAIN_OPTION, CUDA_GRAPH = "plain", "CUDA graph"
CHANGES: Mapping[str, Options] = {
    PLAIN_OPTION: {},
    CUDA_GRAPH: {"enable_cuda_graph": "1"},
    "tf32": {"use_tf32": "1"},
    "exhaustive search": {"cudnn_conv_algo_search": "EXHAUSTIVE"},
    "default search": {"cudnn_conv_algo_search": "DEFAULT"},
    "channels last": {"prefer_nhwc": "1"},
    "small workspace": {"cudnn_conv_use_max_workspace": "0"},
    "exhaustive, channels last, tf32": {
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "prefer_nhwc": "1",
        "use_tf32": "1",
    },
}
"""Changes to `PLAIN`, by name."""

Answers = dict[int, dict[str, NDArray[Any]]]
"""Outputs by batch size."""


def option(net: Net, graph: str, name: str, sizes: Sequence[int], seconds: float, device: str, plain: Answers) -> Row:
    """Return seconds of opening and of the first run, and milliseconds of one run after that, for each batch size.

    The milliseconds are those of runs of one size after the other, `steady_ms`, and of all sizes in turn, `in_turn_ms`.

    Args:
        name: of `CHANGES`.
        sizes: each is measured for a share of `seconds`, and its failure is its own. All in turn take one share more.
        plain: answers with no change, by batch size, which that session fills and the others are compared with. Where
            there is none, because the plain row was measured by an earlier run, they are computed first.
    """
    if name != PLAIN_OPTION and not plain:
        _answer_plainly(net, graph, sizes, device, plain)
    began = time.perf_counter()
    session = opened(net.models[graph], device, CHANGES[name])
    row: Row = {"net": net.name, "graph": graph, "option": name, "open_s": time.perf_counter() - began, "sizes": {}}
    runs: dict[int, Fixed] = {}
    for number, size in enumerate(sizes, 1):
        try:
            feeds, began = net.feeds(graph, size), time.perf_counter()
            fixed = Fixed(session, feeds, device, number if name == CUDA_GRAPH else None)
            at_size = {"first_s": time.perf_counter() - began}
            at_size["steady_ms"] = interleaved({name: fixed}, seconds / len(sizes), clock_of(device))[name] * 1e3
            answer, runs[size] = fixed.outputs(), fixed
            if name == PLAIN_OPTION:
                plain[size] = answer
            elif size in plain:
                at_size["difference"] = max(error["largest"] for error in errors(answer, plain[size]).values())
            row["sizes"][str(size)] = at_size
        except Exception as error:
            row["sizes"][str(size)] = {"error": reason(error)}
    if len(runs) > 1:
        in_turn = interleaved({str(size): run for size, run in runs.items()}, seconds / len(sizes), clock_of(device))
        for size in runs:
            row["sizes"][str(size)]["in_turn_ms"] = in_turn[str(size)] * 1e3
    return row


def _answer_plainly(net: Net, graph: str, sizes: Sequence[int], device: str, plain: Answers) -> None:
    """Fill `plain` for each batch size that runs; nothing is compared at one that does not."""
    session = opened(net.models[graph], device)
    for size in sizes:
        with suppress(Exception):
            fixed = Fixed(session, net.feeds(graph, size), device)
            fixed()
            plain[size] = fixed.outputs()
