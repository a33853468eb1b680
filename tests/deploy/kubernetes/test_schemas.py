"""The manifests against Kubernetes' own schemas, as files and as kustomize renders them."""

from __future__ import annotations

import pytest

from tests.deploy.manifests import (
    COMBINATIONS,
    KUBERNETES,
    KUSTOMIZATIONS,
    ROOT,
    ManifestError,
    read_documents,
    render,
    render_combination,
    validate,
)
from tests.programs import needs


@needs("kubectl")
@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_what_kustomize_renders_passes_the_strict_schema(kustomization: str) -> None:
    rendered = render(ROOT / kustomization)
    assert rendered
    validate(rendered)


@needs("kubectl")
@pytest.mark.parametrize("name", COMBINATIONS)
def test_components_pass_it_on_the_overlays_that_they_are_for(name: str) -> None:
    assert validate(render_combination(name)) >= 5


def test_a_misspelt_field_does_not_pass_the_schema() -> None:
    (service,) = read_documents(KUBERNETES / "base" / "service.yaml")
    validate([service])
    with pytest.raises(ManifestError, match="selectors"):
        validate([{**service, "spec": {**service["spec"], "selectors": {}}}])


def test_kustomizations_list_every_file_beside_them() -> None:
    for kustomization in (ROOT / "deploy").rglob("kustomization.yaml"):
        (document,) = read_documents(kustomization)
        named = {patch.get("path") for patch in document.get("patches", [])} | set(document.get("resources", []))
        beside = {path.name for path in kustomization.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert beside <= named, kustomization


def test_every_component_is_tried_with_an_overlay() -> None:
    folder = KUBERNETES / "components"
    found = {path.parent.relative_to(folder).as_posix() for path in folder.rglob("kustomization.yaml")}
    tried = {component for _, components in COMBINATIONS.values() for component in components}
    parts_of_others = {"gpu", "image", "models/volume", "models/rclone"}
    assert found == tried | parts_of_others
