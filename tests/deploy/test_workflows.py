"""GitHub's workflows: their schema, their safety, and that they run what a developer runs."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import ROOT
from tests.programs import needs, program

FOLDER = ROOT / ".github" / "workflows"
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.yml"))}


def steps(workflow: str) -> list[dict[str, Any]]:
    return [step for job in WORKFLOWS[workflow]["jobs"].values() for step in job.get("steps", [])]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["zizmor", "--offline", "--no-progress", str(FOLDER)], marks=needs("zizmor"), id="zizmor"),
        pytest.param(
            ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, FOLDER.glob("*.yml"))],
            marks=needs("check-jsonschema"),
            id="schema",
        ),
        pytest.param(
            ["check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *map(str, FORMS)],
            marks=needs("check-jsonschema"),
            id="issue forms",
        ),
    ],
)
def test_linters_find_nothing(command: list[str]) -> None:
    done = subprocess.run([program(command[0]) or "", *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_continuous_integration_calls_the_makefile() -> None:
    ran = [step["run"] for step in steps("ci") if step.get("run", "").startswith("make ")]
    assert {"make test", "make check"} <= set(ran)
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {command.split()[1] for command in ran} <= targets


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_every_action_is_a_commit_and_no_job_may_more_than_it_must(workflow: str) -> None:
    """A tag of an action can be moved to other code."""
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
    assert WORKFLOWS[workflow]["permissions"] == {}
    for name, job in WORKFLOWS[workflow]["jobs"].items():
        assert "timeout-minutes" in job or "uses" in job, name
        writes = {scope for scope, right in job["permissions"].items() if right == "write"}
        assert writes <= ({"packages"} if name == "image" else set()), name


def test_images_are_released_from_tags_after_the_tests_with_what_is_in_them() -> None:
    jobs = WORKFLOWS["release"]["jobs"]
    assert WORKFLOWS["release"][True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads the key `on` as true
    assert jobs["image"]["needs"] == "test"
    (build,) = [step["with"] for step in steps("release") if "docker/build-push-action" in step.get("uses", "")]
    assert (build["provenance"], build["sbom"], build["push"]) == ("mode=max", True, True)
    built = {entry["target"]: entry["platforms"] for entry in jobs["image"]["strategy"]["matrix"]["include"]}
    assert built == {"cpu": "linux/amd64,linux/arm64", "gpu": "linux/amd64"}
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for argument in re.findall(r"^(\w+)=", build["build-args"], re.MULTILINE):
        assert f"ARG {argument}=" in dockerfile
