"""Write docs/coverage.md from the measured rows, which are kept beside it as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from export.verification.parity import NORM_BOUND, float32_bound

FILE_QUANTITIES = ("activation", "weight", "batch", "other", "input", "logits", "differences")
QUANTITIES = ("activation", "weight", "batch", "other", "input", "logits")
HEAD = """# Coverage

Architecture families, written to ONNX by torch's two exporters, imported as a stranger's file
(`python -m export onnx` does the same) and compared with torch. Made by

    make coverage            # or: python -m export.coverage [--families NAME …] [--files NAME …]

on {machine} with {versions}. Random weights, distinct scales, calibrated BatchNorm,
ten classes, images of 32 to 96 pixels; the networks are torchvision's, but for the plain network,
MobileNet v1 and MLP-Mixer (`export/coverage/families.py`).

Each figure is the **largest relative difference over all layers and three samples** between the
float32 graph in ONNX Runtime and torch autograd in float64: of the activation-gradient, weight-gradient
and batch-gradient norms, of the norms of all other parameters, and of the whole input gradient; logits
relative to the largest. The bound is 1e-3. The three samples are those of 24 drawn that stay
farthest from every rectifier's kink and every pool's tie in torch's float64 run: closer than float32
resolves, a mask falls either way, in torch's own float32 too. Where an exporter folded BatchNorm, the reference is
torch's own folded network. *Layers* counts ours, each matched to a torch weight by its numbers; in
brackets those whose activation gradient torch gives too (a hook does not reach inside its attention
function). *Import* is from file to gradient graphs, in CPU seconds. *HTTP*: the bundle was
served in a process of its own; `/predict` gave torch's probability, `/diagnostics/gradients` every layer.

"*batch 1*" is the same exporter with the batch of one baked into the graph, which is what its caller
gets who says nothing of shapes; the importer makes it free.
"""
FILES = """
## Files by other producers

Each file as its producer wrote it: the onnx package's light models (Caffe2, opset 9, batch 1), a Keras
network by tf2onnx (`export/coverage/files/`), and the text-direction classifier that the package
`rapidocr_onnxruntime` ships, trained and exported by PaddlePaddle (its row is measured where that
package is installed). First ONNX Runtime must give the same answer to the file and to what the importer
made of it. Then the file's own nodes, run one by one by torch in float64 (`interpreted.py`), are the
reference, with the file's own weights; the light models' weights are all one number, with which no
gradient passes the head, so theirs are drawn.

*Differences* holds the norms to central differences in float64: how far Σ r‖dW‖ over all weights,
r drawn, is from the loss's slope along Σ r·dW/‖dW‖. A test holds the Keras file to norms that TensorFlow
itself computed.
"""
ROUNDING = """
## Where float32 itself is short

With millions of rectifiers one sits within rounding of its kink, and a deep network of random weights
loses digits on the way. Where a figure above exceeds 1e-3, torch's own float32 is compared with its
float64 on the same samples, and the bound is four times what that loses, at most 0.1:

| network | by | quantity | ours | torch's float32 |
|---|---|---|---|---|
"""


def write(rows: Mapping[str, Mapping[str, Any]], path: Path, machine: str, versions: str) -> None:
    """Write the page to `path`, and the rows to the same name with `.json`."""
    path.with_suffix(".json").write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
    families = [row for row in rows.values() if "family" in row]
    files = [row for row in rows.values() if "file" in row]
    good = {row["family"] for row in families if passes(row)}
    both = {family for family in good if all(passes(row) for row in families if row["family"] == family)}
    lines = [HEAD.format(machine=machine, versions=versions)]
    lines.append(f"{len(both)} of {len({row['family'] for row in families})} families pass by every exporter tried.\n")
    lines += _table(families, ("family", "exporter"), QUANTITIES)
    if files:
        lines += [FILES, f"{sum(map(passes, files))} of {len(files)} files pass.\n"]
        lines += _table(files, ("file", "producer"), FILE_QUANTITIES)
    if rounded := _rounded(list(rows.values())):
        lines += [ROUNDING + "\n".join(rounded)]
    refused = [row for row in rows.values() if "error" in row]
    if refused:
        lines += ["", "## What does not pass", ""]
        lines += [
            f"- **{' '.join(list(row.values())[:1])}**, {list(row.values())[1]}: {row['error']}" for row in refused
        ]
    path.write_text("\n".join(lines) + "\n")


def _table(rows: Sequence[Mapping[str, Any]], named: Sequence[str], quantities: Sequence[str]) -> list[str]:
    lines = [f"| {' | '.join(named)} | layers | {' | '.join(quantities)} | import | HTTP |"]
    lines.append("|---|---|---|" + "---|" * (len(quantities) + 2))
    for row in rows:
        if "error" in row:
            continue
        figures = [_figure(row["differences"].get(quantity), quantity, row) for quantity in quantities]
        layers = f"{row['layers']} ({row.get('activations_compared', row['layers'])})"
        cells = [*(row[name] for name in named), layers, *figures, f"{row['seconds']:.1f} s", row["http"]]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def passes(row: Mapping[str, Any]) -> bool:
    """Tell whether every layer was matched, every figure keeps its bound, and the service answered."""
    if "error" in row or row["unmatched"] or row["http"] != "yes":
        return False
    return all(value <= _bound(quantity, row) for quantity, value in row["differences"].items())


def _bound(quantity: str, row: Mapping[str, Any]) -> float:
    return float32_bound(float(row.get("rounding", {}).get(quantity, 0.0)))


def _rounded(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table row for every figure that exceeds the ordinary bound."""
    return [
        f"| {row.get('family') or row['file']} | {row.get('exporter') or row['producer']} | {quantity} "
        f"| {value:.0e} | {row['rounding'].get(quantity, 0.0):.0e} |"
        for row in rows
        for quantity, value in row.get("differences", {}).items()
        if value > NORM_BOUND["float32"]
    ]


def _figure(value: float | None, quantity: str, row: Mapping[str, Any]) -> str:
    if value is None:
        return ""
    text = f"{value:.0e}"
    return text if value <= _bound(quantity, row) else f"**{text}**"
