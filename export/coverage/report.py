"""docs/coverage.md from the measured rows, which are kept beside it as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BOUND = 1e-3
QUANTITIES = ("activation", "weight", "batch", "other", "input", "logits")
HEAD = """# Coverage

Architecture families, written to ONNX by torch's two exporters, imported as a stranger's file
(`python -m export onnx` does the same) and compared with torch. Made by

    make coverage            # or: python -m export.coverage [--families NAME …]

on {machine} with {versions}. Random weights, distinct scales, calibrated BatchNorm,
ten classes, images of 32 to 96 pixels; the networks are torchvision's, but for MobileNet v1 and
MLP-Mixer (`export/coverage/zoo.py`).

Each figure is the **largest relative difference over all layers and three samples** between the
float32 graph in ONNX Runtime and torch autograd in float64: of the activation-gradient, weight-gradient
and batch-gradient norms, of the norms of all other parameters, and of the whole input gradient; logits
relative to the largest. The bound for norms is 1e-3. The three samples are those of 24 drawn that stay
farthest from every rectifier's kink in torch's float64 run: closer to a kink than float32 resolves, a
mask falls either way, in torch's own float32 too. Where an exporter folded BatchNorm, the reference is
torch's own folded network. *Layers* counts ours, each matched to a torch weight by its numbers; in
brackets those whose activation gradient torch gives too (a hook does not reach inside its attention
function). *Import* is from file to gradient graphs. *HTTP*: the bundle was
served in a process of its own; `/predict` gave torch's probability, `/diagnostics/gradients` every layer.

"*tracing, batch 1*" is the older exporter with the batch of one baked into the graph; the importer
makes it free.
"""


def write(rows: Mapping[str, Mapping[str, Any]], path: Path, machine: str, versions: str) -> None:
    """Write the table to `path` and the rows to the same name with `.json`."""
    path.with_suffix(".json").write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
    lines = [HEAD.format(machine=machine, versions=versions)]
    good = {row["family"] for row in rows.values() if passes(row)}
    both = {family for family in good if all(passes(row) for row in rows.values() if row["family"] == family)}
    lines.append(
        f"{len(both)} of {len({row['family'] for row in rows.values()})} families pass by every exporter tried.\n"
    )
    lines.append(f"| family | exporter | layers | {' | '.join(QUANTITIES)} | import | HTTP |")
    lines.append("|---|---|---|" + "---|" * (len(QUANTITIES) + 2))
    refused = []
    for row in rows.values():
        if "error" in row:
            refused.append(f"- **{row['family']}**, {row['exporter']}: {row['error']}")
            continue
        figures = [_figure(row["differences"].get(quantity), quantity) for quantity in QUANTITIES]
        layers = f"{row['layers']} ({row.get('activations_compared', row['layers'])})"
        lines.append(
            f"| {row['family']} | {row['exporter']} | {layers} | {' | '.join(figures)} "
            f"| {row['seconds']:.1f} s | {row['http']} |"
        )
    if refused:
        lines += ["", "## What does not pass", "", *refused]
    path.write_text("\n".join(lines) + "\n")


def passes(row: Mapping[str, Any]) -> bool:
    """Every layer matched, every norm within the bound, and the service answered."""
    if "error" in row or row["unmatched"] or row["http"] != "yes":
        return False
    return all(value <= BOUND for value in row["differences"].values())


def _figure(value: float | None, quantity: str) -> str:
    if value is None:
        return ""
    text = f"{value:.0e}"
    return text if value <= BOUND else f"**{text}**"
