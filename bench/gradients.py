"""`make bench-gradients`: what gradient norms cost, as ratios to the forward run → docs/performance.md.

All rows of a table are measured in one process, one thread each, in turn, repetition by repetition,
and the 20th percentile is taken. "Kernels" is the sum over the graph's nodes of the 20th percentile of
each, by ONNX Runtime's profiler: being short, kernels are measured right on a machine that is busy
with other things, where whole runs are not. "Arithmetic" is the time of the same graph's convolutions and
matrix products alone, out of ONNX Runtime's own profile of it; copies that happen to be written as
a convolution (the rectifiers' masks) do not count as arithmetic.
"""

from __future__ import annotations

import argparse
import collections
import json
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from bench import gradient_peers as peers
from bench.page import replace_section
from export.coverage.zoo import torchvision_models
from export.forward import constants_of, forward_graph
from export.gradient import Prepared, differentiate, prepare
from models.network import Network, architecture
from service.bundle_schema import GraphName

Array = NDArray[Any]
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
COMMAND = "make bench-gradients"
GRAPHS: tuple[GraphName, ...] = ("activation_norms", "weight_norms", "batch_norms")
ARITHMETIC = {"Conv", "FusedConv", "MatMul", "FusedMatMul", "Gemm", "FusedGemm", "NhwcFusedConv"}
QUANTILE = 20
AGREEMENT = 1e-3


@dataclass(frozen=True)
class Row:
    """One line: seconds of a run, seconds of its arithmetic, disagreement with vmap(grad), or why there is none."""

    name: str
    seconds: float | None
    arithmetic: float | None = None
    kernels: float | None = None
    disagreement: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Subject:
    """A network to measure, and at which batches."""

    name: str
    build: Callable[[], nn.Module]
    size: int
    batches: tuple[int, ...]


def ours(name: str) -> Callable[[], nn.Module]:
    """A network of the catalogue, with normalization statistics of one pass over noise."""

    def build() -> nn.Module:
        torch.manual_seed(0)
        network = Network(architecture(name)).train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the pass's own statistics, or the logits saturate torch's float32
        with torch.no_grad():
            network(torch.randn(64, 3, 32, 32))
        return network.eval()

    return build


def resnet50() -> nn.Module:
    """torchvision's ResNet-50 with random weights."""
    torch.manual_seed(0)
    network: nn.Module = torchvision_models().resnet50(weights=None).train()
    with torch.no_grad():
        network(torch.randn(4, 3, 224, 224))
    return network.eval()


SUBJECTS = (
    Subject("resnet20", ours("resnet20"), 32, (1, 8, 32)),
    Subject("resnet56", ours("resnet56"), 32, (1, 8, 32)),
    Subject("resnet50", resnet50, 224, (1, 4)),
)


def options(profile: Path | None = None) -> onnxruntime.SessionOptions:
    """One thread; with a profile written to `profile`."""
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = 1
    chosen.log_severity_level = 3
    if profile is not None:
        chosen.enable_profiling = True
        chosen.profile_file_prefix = str(profile)
    return chosen


def session(model: onnx.ModelProto, profile: Path | None = None) -> onnxruntime.InferenceSession:
    """On the best provider at hand."""
    providers = onnxruntime.get_available_providers()
    return onnxruntime.InferenceSession(model.SerializeToString(), options(profile), providers=providers)


def kernel_seconds(model: onnx.ModelProto, feeds: dict[str, Array], repetitions: int) -> tuple[float, float]:
    """(all kernels, convolutions and matrix products) of one run, out of ONNX Runtime's profile."""
    with tempfile.TemporaryDirectory() as folder:
        profiled = session(model, Path(folder) / "profile")
        for _ in range(repetitions):
            profiled.run(None, feeds)
        events = json.loads(Path(profiled.end_profiling()).read_text())
    durations = collections.defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            durations[event["args"]["op_name"], event["name"]].append(event["dur"] * 1e-6)
    typical = {key: float(np.percentile(values, QUANTILE)) for key, values in durations.items()}
    arithmetic = {
        key: seconds
        for key, seconds in typical.items()
        if key[0] in ARITHMETIC and "/gradient/HardSigmoid" not in key[1]
    }
    return sum(typical.values()), sum(arithmetic.values())


def interleaved(runs: dict[str, Callable[[], Any]], repetitions: int) -> dict[str, float]:
    """Seconds of each run, all taken in turn, repetition by repetition."""
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            measured[name].append(time.perf_counter() - start)
    return {name: float(np.percentile(values, QUANTILE)) for name, values in measured.items()}


def measure(subject: Subject, batch: int, repetitions: int) -> list[Row]:
    """Every row for one network at one batch."""
    network = subject.build()
    constants = constants_of(network) if isinstance(network, Network) else ()
    ready = prepare(forward_graph(network, subject.size), constants=constants)
    images = np.random.default_rng(0).normal(size=(batch, 3, subject.size, subject.size)).astype(np.float32)
    labels = np.arange(batch) % ready.classes
    feeds = {"input": images, "label": labels, "cotangent_scale": np.ones(batch, np.float32)}

    runs: dict[str, Callable[[], Any]] = {}
    forward = session(differentiate(ready, "forward"))
    runs["forward"] = lambda: forward.run(["logits"], {"input": images})
    graphs: dict[str, onnx.ModelProto] = {name: differentiate(ready, name) for name in GRAPHS}
    for name, model in graphs.items():
        runs[name] = partial(session(model).run, None, feeds)
    reasons = _add_peers(runs, network, ready, images, labels)
    disagreement = _disagreement(runs, reasons)
    seconds = interleaved(runs, repetitions)
    graphs["forward"] = differentiate(ready, ["logits"])
    given = {name: feeds if name != "forward" else {"input": images} for name in graphs}
    rows = []
    for name, measured in seconds.items():
        kernels, arithmetic = (
            kernel_seconds(graphs[name], given[name], max(8, repetitions)) if name in graphs else (None, None)
        )
        rows.append(Row(name, measured, arithmetic, kernels, disagreement.get(name)))
    return rows + [Row(name, None, reason=reason) for name, reason in reasons.items()]


def _add_peers(
    runs: dict[str, Callable[[], Any]], network: nn.Module, ready: Prepared, images: Array, labels: Array
) -> dict[str, str]:
    """The peers that run, added to `runs`; the reasons of those that do not."""
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    named: dict[str, peers.Peer] = {
        "torch forward": peers.torch_forward,
        "torch forward + backward": peers.torch_backward,
        "torch vmap(grad)": peers.functorch,
        "BackPACK BatchL2Grad": peers.backpack,
        "Opacus": peers.opacus,
        "onnx-ad, input gradient": lambda *_: peers.onnx_ad(differentiate(ready, ["logits"]), images, options()),
    }
    reasons = {}
    for name, peer in named.items():
        try:
            run = peer(network, x, y)
            run()
            runs[name] = run
        except Exception as error:  # whatever a peer raises is its row
            reasons[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:110]}"
    return reasons


def _disagreement(runs: dict[str, Callable[[], Any]], reasons: dict[str, str]) -> dict[str, float]:
    """Largest relative difference of per-sample weight norms to vmap(grad); a peer that is wrong is no row."""
    if "torch vmap(grad)" not in runs:
        return {}
    expected = runs["torch vmap(grad)"]()
    found: dict[str, float] = {}
    for name in ("weight_norms", "batch_norms"):
        position = ["logits", "activation_square", "weight_square"].index("weight_square")
        found[name] = _relative(np.sqrt(runs[name]()[position]), expected)
        if not found[name] <= AGREEMENT:
            raise SystemExit(f"{name} disagrees with torch by {found[name]:.1e}")
    for name in ("BackPACK BatchL2Grad", "Opacus"):
        if name in runs:
            found[name] = _relative(runs[name](), expected)
            if not found[name] <= AGREEMENT:
                reasons[name] = f"its norms differ from vmap(grad) by {found[name]:.1e}"
                del runs[name]
    return found


def _relative(found: Array, expected: Array) -> float:
    """Largest relative difference; norms are sorted first, as layers and parameters come in different orders."""
    found, expected = np.sort(found, axis=1), np.sort(expected, axis=1)
    return float(np.abs(found / expected - 1).max())


def table(subject: Subject, batch: int, rows: Sequence[Row]) -> str:
    """Markdown, ratios to the forward run and to torch."""
    seconds = {row.name: row.seconds for row in rows if row.seconds}
    forward, backward = seconds["forward"], seconds.get("torch forward + backward")
    vmap = seconds.get("torch vmap(grad)")
    forward_kernels = next(row.kernels for row in rows if row.name == "forward")
    lines = [
        f"#### {subject.name}, {subject.size}×{subject.size}, batch {batch}",
        "",
        "| run | × forward | kernels × forward's | kernels ÷ arithmetic "
        "| ÷ torch forward + backward | ÷ vmap(grad) | norms agree within |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.seconds is None:
            lines.append(f"| {row.name} | does not run: {row.reason.replace('|', '/')} | | | | | |")
            continue
        cells = [
            row.name,
            f"{row.seconds / forward:.2f}",
            f"{row.kernels / forward_kernels:.2f}" if row.kernels and forward_kernels else "",
            f"{row.kernels / row.arithmetic:.2f}" if row.kernels and row.arithmetic else "",
            f"{row.seconds / backward:.2f}" if backward else "",
            f"{row.seconds / vmap:.2f}" if vmap else "",
            f"{row.disagreement:.0e}" if row.disagreement is not None else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--only", nargs="*", help="names of networks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    versions = f"torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}"
    sections = [f"Measured on {platform.processor() or platform.machine()}, one thread, {versions}.\n"]
    for subject in SUBJECTS:
        if arguments.only and subject.name not in arguments.only:
            continue
        for batch in subject.batches:
            repetitions = max(4, arguments.repetitions // (1 if subject.size == 32 else 5))
            sections.append(table(subject, batch, measure(subject, batch, repetitions)))
            print(sections[-1], flush=True)
    replace_section(PAGE, COMMAND, "\n".join(sections))


if __name__ == "__main__":
    main()
