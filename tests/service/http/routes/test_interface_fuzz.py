"""Schemathesis against the running service finds no 5xx and no answer that the OpenAPI document does not name.

`make fuzz` draws many more requests. Names are drawn at random, which tries the refusals, or given,
so that what is drawn besides comes as far as the model.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.imported_bundles import write_independent, write_int8
from tests.service.live_server import running

ROOT = Path(__file__).parents[4]
SHIPPED = ROOT / "models" / "bundles" / "resnet20"
HOOKS = "tests.service.http.routes.documented_statuses"

NOT_SAID = "positive_data_acceptance"
"""No schema can say "bytes that are a photograph": most bytes that fit it are rightly refused, with 415 or 422."""

EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "3")

TIME = """
[parameters]
"header.X-Deadline-Ms" = "60000"
"""
"""Without this, most generated deadlines would be too short, and most answers would rightly be 504."""


def given(name: str) -> str:
    """Have every request name this model."""
    return f"""{TIME.rstrip()}
"path.name" = "{name}"
"path.version" = "1"
"query.model" = "{name}"
"query.version" = "1"
"query.label" = "0"
"""


CONFIGURATIONS = {
    "any names": TIME,
    "a name that is served": given("resnet20"),
    "independent labels": given("several"),
    "int8": given("int8"),
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_every_answer_is_a_documented_one(tmp_path: Path, configuration: str) -> None:
    shutil.copytree(SHIPPED, tmp_path / "bundles" / SHIPPED.name)
    write_independent(tmp_path / "bundles", "several")
    write_int8(tmp_path / "bundles", "int8")
    (tmp_path / "schemathesis.toml").write_text(configuration)
    with running(tmp_path / "bundles") as server:
        command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{server.url}/openapi.json"]
        options = ["--checks", "all", "--exclude-checks", NOT_SAID, "--phases", "examples,fuzzing", "--seed", "1"]
        options += ["--max-examples", EXAMPLES, "--max-response-time", "60", "--generation-deterministic"]
        done = subprocess.run(
            [*command, *options, "--suppress-health-check", "all", "--no-color"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": HOOKS},
            capture_output=True,
            text=True,
        )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
