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

Architecture families are written to ONNX by torch's two exporters, imported (`python -m export onnx` does the
same) and compared with torch. This page is made by

    make coverage            # or: python -m export.coverage [--families NAME …] [--files NAME …]

on {machine} with {versions}. The networks have random weights with distinct scales,
calibrated BatchNorm, ten classes, and images of 32 to 96 pixels. They are torchvision's, except for the plain network,
MobileNet v1 and MLP-Mixer (`export/coverage/families.py`).

Each figure is the **largest relative difference over all layers and three samples** between the
float32 graph in ONNX Runtime and torch autograd in float64. The quantities are the norms of activation gradients,
weight gradients and batch gradients, the norms of all other parameters' gradients, and the whole input gradient;
logits are relative to the largest. The bound is 1e-3.

- Of 24 samples drawn, the three are used that stay farthest from every rectifier's kink and every pool's tie in
  torch's float64 run. Closer than float32 resolves, a mask falls either way, in torch's own float32 too.
- Where an exporter folded BatchNorm, the reference is the network as folded by torch.
- *Layers* counts the layers of the bundle, each matched to a torch weight by its numbers. In brackets are those
  whose activation gradient torch gives too; a hook does not reach inside its attention function.
- *Import* is the time from the file to the gradient graphs, in CPU seconds.
- *HTTP* says whether the bundle, served in a process of its own, gave torch's probability from `/predict` and every
  layer from `/diagnostics/gradients`.
- "*batch 1*" is the same exporter with a batch of one baked into the graph, as happens when its caller says nothing
  about shapes. The importer frees the batch.
"""
FILES = """
## Files by other producers

Each file is as its producer wrote it: the onnx package's light models (Caffe2, opset 9, batch 1), a Keras
network by tf2onnx (`export/coverage/files/`), and the text-direction classifier in the package
`rapidocr_onnxruntime`, trained and exported by PaddlePaddle (measured where that package is installed).

First, ONNX Runtime must compute the same scores from the file and from what the importer made of it. Then the
gradients are compared with torch, which runs the file's own nodes one by one in float64
(`export/coverage/interpreted.py`). The weights are those of the file, except in the light models. Theirs are all
one number, with which no gradient passes the head, so they are drawn anew.

*Differences* compares the norms with central differences in float64: Σ r‖dW‖ over all weights, for random r, with
the slope of the loss along Σ r·dW/‖dW‖. A test compares the Keras file with norms that TensorFlow itself computed.
"""
ROUNDING = """
## Where float32 is not enough

Of millions of rectifiers, one may lie within rounding of its kink, and a deep network of random weights loses digits.
Where a figure above exceeds 1e-3, torch's own float32 is compared with its float64 on the same samples. The bound is
then four times that difference, and at most 0.1:

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
