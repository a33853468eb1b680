"""Renders the kustomizations, and validates manifests against Kubernetes' own schemas."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

Document = dict[str, Any]

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
MANIFESTS = sorted(path for path in (ROOT / "deploy").rglob("*.yaml") if path.name != "kustomization.yaml")
COMPOSE: Document = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))

KUSTOMIZATIONS = (
    "deploy/kubernetes",
    "deploy/kubernetes/overlays/cpu",
    "deploy/kubernetes/overlays/gpu",
    "deploy/kubernetes/overlays/autoscaled",
    "deploy/kubernetes/batch",
)

KINDS_OF_OPERATORS = frozenset({"ServiceMonitor", "ServingRuntime", "InferenceService"})
"""Kinds whose schemas come with their operators, not with Kubernetes."""


class ManifestError(Exception):
    """A manifest that Kubernetes would refuse; the message names it and the field."""


def read_documents(path: Path) -> list[Document]:
    """Return the documents of a YAML file; a JSON patch, which is a list, is no document."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if isinstance(document, dict)]


def render(kustomization: Path) -> list[Document]:
    """Return what `kubectl apply -k` would send.

    Raises:
        ManifestError: kubectl cannot render it.
    """
    command = ["kubectl", "kustomize", str(kustomization)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ManifestError(done.stderr.strip().replace(f"{Path.cwd()}/", ""))
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def validate(documents: Sequence[Document]) -> int:
    """Validate against the newest schemas, strictly: an unknown field is an error. Return how many were checked.

    Kinds of operators have no schema here, except that the containers of a ServingRuntime are checked as a pod's.

    Raises:
        ManifestError: a document does not fit.
    """
    checked = 0
    for document in documents:
        if document["kind"] == "ServingRuntime":
            pod = {"containers": document["spec"]["containers"]}
            document = {"apiVersion": "v1", "kind": "Pod", "metadata": document["metadata"], "spec": pod}
        if document["kind"] in KINDS_OF_OPERATORS:
            continue
        try:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            name = f"{document['kind']}/{document['metadata']['name']}"
            raise ManifestError(f"{name}: {error.message} at {'.'.join(map(str, error.path))}") from None
        checked += 1
    return checked
