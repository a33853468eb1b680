"""Too little of the card's memory: by the service's own limit, and because another process holds it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.gpu.part import Row
from bench.gpu.starts.trial import Trial, tried, worded
from bench.harness.paths import CAT
from service.contract.runtime.gpu.cuda import CUDA
from service.contract.runtime.provider import CPU

MIB = 2**20
LIMITS = (128 * MIB, 512 * MIB, 1024 * MIB)
"""Limits in bytes, of which the first is taken with which the service starts."""
IMAGES = 1024
"""Images of one run of `batch_norms`, which is never divided; of resnet20 they need more than the limits."""
LARGE_REQUEST = ("--max-images", str(IMAGES), "--max-queued-images", str(2 * IMAGES))
LARGE_PATH = "/diagnostics/gradients?include=batch_gradient"
START_SECONDS, AGAIN_SECONDS = 20.0, 30.0
HOLD = """
import sys, torch
free, _ = torch.cuda.mem_get_info()
held = torch.empty(max(1, free - int(sys.argv[1])), dtype=torch.uint8, device="cuda")
print("holds", held.numel(), flush=True)
sys.stdin.read()
"""

LIMITED = "a request that needs more than --gpu-memory-limit"
CROWDED = {
    f"another process leaves {words} of the card's memory": left
    for words, left in (("1 GiB", 1024 * MIB), ("100 MiB", 100 * MIB))
}
"""Bytes that are left. CUDA itself takes some 500 MB in every process: 100 MiB are not enough."""
KEYS = (LIMITED, *CROWDED)


def limited(bundles: Path) -> Row:
    """Ask a service with little memory for a large run, and then for a small one."""
    refusals = []
    for limit in LIMITS:
        flags = ("--execution-provider", "cuda", "--gpu-memory-limit", str(limit), *LARGE_REQUEST)
        row = {"command": f"python -m service {' '.join(flags)}", "environment": f"POST {LARGE_PATH}: {IMAGES} images"}
        row["expected"] = "503, memory is short; afterwards live, and the next prediction 200"
        with tried(bundles, flags, seconds=START_SECONDS) as trial:
            if not trial.ready:
                refusals.append(f"with {limit // MIB} MiB: {trial.found()}")
                continue
            large = trial.post(LARGE_PATH, many_images(), "application/json")
            after = trial.predict()
            found = [*refusals, worded(large), f"then live {trial.get('/health/live')[0]}, /predict {worded(after)}"]
            said = [f"log: {'; '.join(trial.lines)}"]
            kept = large[0] == 503 and "short-of-memory" in str(large[1]) and after[0] == 200
            return {**row, "found": "; ".join(found + said), "kept": kept}
    return {**row, "found": "does not start: " + "; ".join(refusals), "kept": False}


def many_images() -> bytes:
    """Return a JSON body of `IMAGES` images."""
    image = base64.b64encode(CAT.read_bytes()).decode()
    return json.dumps({"images": [image] * IMAGES}).encode()


def crowded(bundles: Path, key: str) -> Row:
    """Start the service while another process leaves what `CROWDED` says, and look again once that has ended."""
    flags = ("--execution-provider", "auto")
    with holding(CROWDED[key]) as holder, tried(bundles, flags, seconds=START_SECONDS) as trial:
        found, kept = trial.found(), says_why(trial)
        if trial.status is None and not trial.ready:
            end(holder)
            again = trial.wait(AGAIN_SECONDS)
            found += f"; when the memory is free again: {trial.found()}"
            kept = kept and again
    return {
        "command": f"python -m service {' '.join(flags)}",
        "environment": key,
        "found": found,
        "expected": "on the card; where memory does not suffice, it is the reason that is given",
        "kept": kept,
    }


def says_why(trial: Trial) -> bool:
    """Return whether the service predicts on the card, or says that memory is what it lacks."""
    if trial.ready and trial.models()[0] == CUDA:
        return trial.predict()[0] == 200
    said = " ".join([*trial.lines, *trial.models(), worded(trial.get("/health/ready"))])
    return "memory" in said and (trial.status is not None or not trial.ready or trial.models()[0] == CPU)


@contextmanager
def holding(left: int) -> Iterator[subprocess.Popen[str]]:
    """Hold all of the card's memory but `left` bytes in another process.

    Raises:
        RuntimeError: it could not.
    """
    command = [sys.executable, "-c", HOLD, str(left)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        if not holder.stdout.readline().startswith("holds"):
            raise RuntimeError("no process could take the card's memory; its reason is on stderr")
        yield holder
    finally:
        end(holder)


def end(holder: subprocess.Popen[str]) -> None:
    """End the process that holds memory, which then is free."""
    holder.kill()
    holder.wait()
