"""The bound: decode, preprocess and run in a loop, in one process, with no HTTP; best batch of several."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench.serving.classifier import Classifier
from bench.serving.results import Bound
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


DECODERS = {"pillow": pillow_loop, "service": service_loop}


def measure(
    make: Callable[[], Loop], images: list[bytes], batch: int, threads: int, seconds: float
) -> tuple[float, float, float]:
    """Run `threads` loops side by side: images per second, per CPU-second, and the median ms of a batch."""
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
    return total / elapsed, total / used, 1e3 * float(np.median(seconds_each))


def at_best_batch(decoder: str, images: str, batches: list[int], seconds: float) -> dict[str, float]:
    """Return the fields of the `Bound` with as many threads as CPUs, after `seconds` at each of `batches`."""
    known = [Path(file).read_bytes() for file, _ in json.loads(Path(images).read_text())]
    make, threads = DECODERS[decoder], os.cpu_count() or 1
    *_, alone_ms = measure(make, known, 1, 1, seconds)
    found = [Bound(batch, *measure(make, known, batch, threads, seconds)[:2], alone_ms) for batch in batches]
    return asdict(max(found, key=lambda bound: bound.per_cpu_second))
