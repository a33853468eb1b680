"""The manifests against Kubernetes' own schemas, as files and as kustomize renders them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import (
    KUBERNETES,
    KUSTOMIZATIONS,
    MANIFESTS,
    ROOT,
    ManifestError,
    read_documents,
    render,
    validate,
)
from tests.programs import needs


@needs("kubectl")
@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_what_kustomize_renders_passes_the_strict_schema(kustomization: str) -> None:
    rendered = render(ROOT / kustomization)
    assert validate(rendered) >= 2


@pytest.mark.parametrize(
    "path", [path for path in MANIFESTS if path.parent.name in ("base", "batch", "kserve")], ids=lambda path: path.name
)
def test_what_is_no_patch_passes_the_strict_schema_as_it_stands(path: Path) -> None:
    validate(read_documents(path))


def test_a_misspelt_field_does_not_pass_the_schema() -> None:
    (service,) = read_documents(KUBERNETES / "base" / "service.yaml")
    validate([service])
    with pytest.raises(ManifestError, match="selectors"):
        validate([{**service, "spec": {**service["spec"], "selectors": {}}}])


def test_kustomizations_list_every_file_beside_them() -> None:
    for kustomization in KUBERNETES.rglob("kustomization.yaml"):
        (document,) = read_documents(kustomization)
        named = {patch["path"] for patch in document.get("patches", [])} | set(document.get("resources", []))
        beside = {path.name for path in kustomization.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert beside <= named, kustomization


@needs("kubectl")
def test_components_fit_the_overlays_they_are_for(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    overlay = tmp_path / "kubernetes" / "overlays" / "mine"
    overlay.mkdir()
    components = ["monitoring", "bundles-volume", "queue-time"]
    text = {"resources": ["../autoscaled"], "components": [f"../../components/{name}" for name in components]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(text))
    rendered = {document["kind"]: document for document in render(overlay)}
    validate(list(rendered.values()))
    assert [metric["type"] for metric in rendered["HorizontalPodAutoscaler"]["spec"]["metrics"]] == [
        "ContainerResource",
        "Pods",
    ]
    (container,) = rendered["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["volumeMounts"] == [{"name": "bundles", "mountPath": "/bundles", "readOnly": True}]
    assert "replicas" not in rendered["Deployment"]["spec"]
    assert rendered["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items() <= (
        rendered["Service"]["metadata"]["labels"].items()
    )
