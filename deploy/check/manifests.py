"""Rendering of the kustomizations, and validation against Kubernetes' own schemas."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

KUSTOMIZATIONS = (
    "deploy/kubernetes",
    "deploy/kubernetes/overlays/cpu",
    "deploy/kubernetes/overlays/gpu",
    "deploy/kubernetes/overlays/autoscaled",
    "deploy/kubernetes/batch",
)

OF_OPERATORS = frozenset({"ServiceMonitor", "ServingRuntime", "InferenceService"})
"""Kinds whose schemas live in their operators, not in Kubernetes."""


class ManifestError(Exception):
    """A manifest that Kubernetes would refuse; the message names it and the field."""


def render(kustomization: Path) -> list[dict[str, Any]]:
    """What `kubectl apply -k` would send.

    Raises:
        ManifestError: kubectl cannot render it.
    """
    command = ["kubectl", "kustomize", str(kustomization)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ManifestError(done.stderr.strip().replace(f"{Path.cwd()}/", ""))
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def validate(documents: Sequence[dict[str, Any]]) -> int:
    """Strictly (an unknown field is an error), against the newest schemas there are; returns how many were checked.

    Kinds of operators have no schema here; of a ServingRuntime the containers are checked as a pod's.

    Raises:
        ManifestError: a document that does not fit.
    """
    checked = 0
    for document in documents:
        if document["kind"] == "ServingRuntime":
            pod = {"containers": document["spec"]["containers"]}
            document = {"apiVersion": "v1", "kind": "Pod", "metadata": document["metadata"], "spec": pod}
        if document["kind"] in OF_OPERATORS:
            continue
        try:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            name = f"{document['kind']}/{document['metadata']['name']}"
            raise ManifestError(f"{name}: {error.message} at {'.'.join(map(str, error.path))}") from None
        checked += 1
    return checked
