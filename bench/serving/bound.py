"""The bound: decode, preprocess and run in a loop, in one process, with no HTTP; best batch of several."""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.serving.classifier import Classifier
from service.contract.bundle_schema import Bundle
from service.images.preprocess import decode, normalise

Loop = Callable[[list[bytes]], list[str]]


def pillow_loop() -> Loop:
    """Return a loop with Pillow's decoder and float arithmetic image by image, as in every tutorial."""
    classifier = Classifier()
    return lambda images: classifier.predict(np.stack([classifier.decode(image) for image in images]))


def service_loop() -> Loop:
    """Return a loop with the service's own decoder and preprocessing, on the same session."""
    classifier = Classifier()
    spec = Bundle.model_validate_json((Path(os.environ["BENCH_BUNDLE"]) / "bundle.json").read_text()).input
    return lambda images: classifier.predict(normalise(np.stack([decode(image, spec) for image in images]), spec))


def measure(make: Callable[[], Loop], images: list[bytes], batch: int, threads: int, seconds: float) -> dict[str, Any]:
    """Run `threads` loops side by side: images per second and per CPU-second, and the median time of a batch."""
    loops = [make() for _ in range(threads)]
    for loop in loops:
        loop(images[:batch])
    counts = [0] * threads
    seconds_each: list[float] = []
    end = time.perf_counter() + seconds

    def work(number: int) -> None:
        position = number
        while not counts[number] or time.perf_counter() < end:
            chosen = [images[(position + k) % len(images)] for k in range(batch)]
            before = time.perf_counter()
            loops[number](chosen)
            seconds_each.append(time.perf_counter() - before)
            counts[number] += batch
            position += batch

    cpu, began = time.process_time(), time.perf_counter()
    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    elapsed, used = time.perf_counter() - began, time.process_time() - cpu
    total = sum(counts)
    return {
        "batch": batch,
        "rate": total / elapsed,
        "per_cpu_second": total / used,
        "p50_ms": 1e3 * float(np.median(seconds_each)),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--decoder", choices=("pillow", "service"), required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batches", type=int, nargs="+", required=True)
    parser.add_argument("--seconds", type=float, required=True, help="of each batch size")
    options = parser.parse_args()
    images = [Path(file).read_bytes() for file, _ in json.loads(options.images.read_text())]
    make = pillow_loop if options.decoder == "pillow" else service_loop
    alone = measure(make, images, 1, 1, options.seconds)
    rows = [measure(make, images, batch, options.threads, options.seconds) for batch in options.batches]
    best = max(rows, key=lambda row: row["per_cpu_second"])
    shown = {name: best[name] for name in ("batch", "rate", "per_cpu_second")}
    json.dump({**shown, "alone_ms": alone["p50_ms"]}, sys.stdout)


if __name__ == "__main__":
    main()
