"""Schemathesis against the running service: no 5xx, no answer that the OpenAPI document does not name.

`FUZZ_EXAMPLES=500 python -m pytest tests/service/test_interface_fuzz.py` looks harder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from live_server import running
from tiny_bundles import write_bundle

NOT_SAID = "positive_data_acceptance"
"""No schema can say "bytes that are a photograph": most bytes that fit it are rightly refused, with 415 or 422."""

EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "3")


def test_every_answer_is_a_documented_one(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path) as server:
        command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{server.url}/openapi.json"]
        options = [
            "--checks",
            "all",
            "--exclude-checks",
            NOT_SAID,
            "--phases",
            "examples,fuzzing",
            "--seed",
            "1",
            "--max-examples",
            EXAMPLES,
        ]
        done = subprocess.run(
            [*command, *options, "--generation-deterministic", "--suppress-health-check", "all", "--no-color"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
