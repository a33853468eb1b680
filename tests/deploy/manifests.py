"""Renders the kustomizations, and validates manifests against the schemas of Kubernetes and of operators."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
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
    "deploy/kserve",
    "deploy/kserve/inference-service",
    "deploy/kserve/s3",
    "deploy/kserve/gcs",
    "deploy/kserve/hugging-face",
    "deploy/kserve/oci",
)

COMBINATIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "adapter": ("autoscaled", ("monitoring", "bundles-volume", "queue-time")),
    "ingress": ("cpu", ("monitoring", "ingress", "path-prefix", "keys", "keda", "telemetry", "models/s3")),
    "gateway": ("gpu", ("monitoring", "gateway", "path-prefix", "keys", "metrics-port", "models/gcs")),
    "import": ("cpu", ("models/hugging-face",)),
    "image volume": ("cpu", ("models/oci",)),
}
"""Overlays with the components that an operator may add to them; each component is in one of these."""

OPERATORS = ("gateway.networking.k8s.io", "keda.sh", "monitoring.coreos.com", "serving.kserve.io")
"""Groups of kinds whose schemas come with their operators, not with Kubernetes."""


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


@functools.cache
def render_combination(name: str) -> tuple[Document, ...]:
    """Return what an overlay of an operator's own sends, which lies outside this repository."""
    overlay, components = COMBINATIONS[name]
    with tempfile.TemporaryDirectory() as folder:
        here = Path(os.path.relpath(KUBERNETES, Path(folder).resolve()))
        places = [str(here / "components" / component) for component in components]
        text = {"resources": [str(here / "overlays" / overlay)], "components": places}
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
        return tuple(render(Path(folder)))


def validate(documents: Sequence[Document], catalogue: Path | None = None) -> int:
    """Validate against the newest schemas, strictly: an unknown field is an error. Return how many were checked.

    Args:
        catalogue: a copy of github.com/datreeio/CRDs-catalog, which has the schemas of operators. Without it their
            kinds are left out, except that the containers of a ServingRuntime are checked as a pod's.

    Raises:
        ManifestError: a document does not fit.
    """
    return sum(_is_checked(document, catalogue) for document in documents)


def _is_checked(document: Document, catalogue: Path | None) -> bool:
    """Return False if there is no schema for the kind of a document; raise `ManifestError` if it does not fit."""
    name = f"{document['kind']}/{document['metadata']['name']}"
    group, _, version = document["apiVersion"].rpartition("/")
    if group in OPERATORS and catalogue is not None:
        schema = json.loads((catalogue / group / f"{document['kind'].lower()}_{version}.json").read_text("utf-8"))
        for fault in jsonschema.Draft7Validator(schema).iter_errors(document):
            raise ManifestError(f"{name}: {fault.message} at {'.'.join(map(str, fault.path))}")
    if document["kind"] == "ServingRuntime":
        pod = {key: document["spec"][key] for key in ("containers", "volumes") if key in document["spec"]}
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": document["metadata"], "spec": pod}
    elif group in OPERATORS:
        return catalogue is not None
    try:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        raise ManifestError(f"{name}: {error.message} at {'.'.join(map(str, error.path))}") from None
    return True
