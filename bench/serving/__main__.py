"""`python -m bench.serving`: measure all servers and write the table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.page import replace_section
from bench.serving.servers import ROOT, SERVERS, ServerUnderTest, started

COMMAND = "make bench-serving"
CONNECTIONS = (1, 8, 32, 128)


@dataclass
class Row:
    """One server: results by number of connections, or the reason why there are none."""

    name: str
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    ready_seconds: float = 0.0
    memory_mb: float = 0.0
    reason: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "bundles" / "resnet20")
    parser.add_argument("--images", type=Path, default=ROOT / "tests" / "images")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", nargs="*", help="names of servers")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = expected_labels(options.bundle.resolve(), options.images, Path(folder))
        bounds = {decoder: bound(options, decoder, images) for decoder in ("pillow", "service")}
        chosen = [server for server in SERVERS if not options.only or server.name in options.only]
        rows = [measure(server, options, images) for server in chosen]
    text = report(rows, bounds, options)
    replace_section(options.page, COMMAND, text)
    print(text)


def expected_labels(bundle: Path, folder: Path, scratch: Path) -> Path:
    """The JPEG photographs of the network's own size with the labels that the bound's classifier gives."""
    os.environ["BENCH_BUNDLE"] = str(bundle)
    from PIL import Image

    from bench.serving.classifier import Classifier

    classifier = Classifier()
    entries = []
    for file in sorted(folder.glob("*.jpg")):
        with Image.open(file) as image:
            if image.size != (32, 32) or image.getexif():
                continue
        entries.append((str(file), classifier.predict(classifier.decode(file.read_bytes())[None])[0]))
    listing = scratch / "images.json"
    listing.write_text(json.dumps(entries))
    return listing


def bound(options: argparse.Namespace, decoder: str, images: Path) -> dict[str, Any]:
    """The in-process bound in a process of its own, with as many threads as CPUs."""
    command = [sys.executable, "-m", "bench.serving.bound", "--decoder", decoder, "--images", str(images)]
    command += ["--threads", str(os.cpu_count()), "--seconds", str(min(4.0, options.seconds))]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(server: ServerUnderTest, options: argparse.Namespace, images: Path) -> Row:
    """One server at every number of connections."""
    row = Row(server.name)
    sample = Path(json.loads(images.read_text())[0][0]).read_bytes()
    try:
        with started(server, options.bundle.resolve(), sample) as running:
            row.ready_seconds = running.ready_seconds
            load(server, running.port, images, 8, 1.0)
            for connections in CONNECTIONS:
                before = running.cpu_seconds()
                result = load(server, running.port, images, connections, options.seconds)
                result["per_cpu_second"] = result["requests"] / (running.cpu_seconds() - before)
                row.results[connections] = result
            time.sleep(0.5)
            row.memory_mb = running.memory_mb()
    except (RuntimeError, subprocess.CalledProcessError) as error:
        row.reason = str(error)
    return row


def load(server: ServerUnderTest, port: int, images: Path, connections: int, seconds: float) -> dict[str, Any]:
    """Run the load generator as its own process."""
    command = [sys.executable, "-m", "bench.serving.load", "--port", str(port), "--path", server.path]
    command += ["--body", server.body, "--connections", str(connections), "--seconds", str(seconds)]
    done = subprocess.run([*command, "--images", str(images)], check=True, capture_output=True, text=True, cwd=ROOT)
    result: dict[str, Any] = json.loads(done.stdout)
    result["rate"] = result["requests"] / result["seconds"]
    return result


def report(rows: list[Row], bounds: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    """The Markdown of the page's section."""
    pillow, own = bounds["pillow"], bounds["service"]
    lines = [
        f"Measured on {machine()}; the load generator shares the cores, and so did whatever else "
        f"ran: load average {os.getloadavg()[0]:.1f} at the end. "
        f"`{options.bundle.name}`, 32×32 JPEG photographs, closed loop, {options.seconds:g} s for each number of "
        "connections, every answer checked. "
        "Memory is the proportional set size of the whole process tree after the load; ready is the time from start to "
        "the first right answer.",
        "",
        "| server | requests/s at 1, 8, 32, 128 | p50 ms at 1 | p99 ms at 32 | requests per server-CPU-second at 32 | "
        "wrong | memory MB | ready s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row.reason:
            lines.append(f"| {row.name} | {row.reason} | | | | | | |")
            continue
        rates = ", ".join(f"{row.results[c]['rate']:,.0f}" for c in CONNECTIONS)
        wrong = sum(result["wrong"] for result in row.results.values())
        lines.append(
            f"| {row.name} | {rates} | {row.results[1]['p50']:.2f} | {row.results[32]['p99']:.1f} | "
            f"{row.results[32]['per_cpu_second']:,.0f} | {wrong} | {row.memory_mb:.0f} | {row.ready_seconds:.2f} |"
        )
    for name, values in (("bound, Pillow", pillow), ("bound, the service's decoder", own)):
        best = values["best"]
        lines.append(
            f"| {name} (in process, batch {best['batch']}) | {best['rate']:,.0f} | {values['alone_ms']:.2f} | | "
            f"{best['per_cpu_second']:,.0f} | | | |"
        )
    lines += ["", *conclusions(rows, pillow, own), ""]
    return "\n".join(lines)


def conclusions(rows: list[Row], pillow: dict[str, Any], own: dict[str, Any]) -> list[str]:
    """The ratios that DESIGN's targets are about, from this run."""
    measured = {row.name: row for row in rows if row.results}
    if "Contraflow" not in measured:
        return []
    ours = measured.pop("Contraflow")
    best = max(result["per_cpu_second"] for result in ours.results.values())
    lines = [
        f"- Per server-CPU-second, saturated: {best / pillow['best']['per_cpu_second']:.2f} × the Pillow bound (target "
        f"0.95), {best / own['best']['per_cpu_second']:.2f} × the bound with the decoder in use (target 0.85).",
        f"- One connection: p50 {ours.results[1]['p50'] - own['alone_ms']:+.2f} ms over the in-process bound "
        "at batch 1 (target 0.3).",
    ]
    if measured:
        peer = max(measured.values(), key=lambda row: row.results[32]["rate"])
        ratio = ours.results[32]["rate"] / peer.results[32]["rate"]
        lines.append(f"- At 32 connections: {ratio:.1f} × the best peer ({peer.name}); target 2.5.")
    return lines


def machine() -> str:
    """The processor and the cores that may be used."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return f"{os.cpu_count()} cores of {model}"


if __name__ == "__main__":
    main()
