"""The compose file and the Kubernetes manifests against their schemas and against the service they start."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.check.manifests import KUSTOMIZATIONS, ManifestError, render, validate
from deploy.check.monitoring import expressions
from service.app import ROUTERS, create_app
from service.settings import PREFIX, Settings, read_settings

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
MANIFESTS = sorted(path for path in (ROOT / "deploy").rglob("*.yaml") if path.name != "kustomization.yaml")
Document = dict[str, Any]


@cache
def documents(path: Path) -> list[Document]:
    """What a file holds; a JSON patch, which is a list, is no document."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if isinstance(document, dict)]


def containers() -> Iterator[tuple[str, Document]]:
    """Every container in every manifest, patches included."""
    for path in MANIFESTS:
        for document in documents(path):
            spec = document.get("spec", {})
            pod = spec.get("template", {}).get("spec", spec)
            for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
                yield f"{path.relative_to(ROOT)}:{container['name']}", container


def pods() -> Iterator[tuple[str, Document]]:
    for path in MANIFESTS:
        for document in documents(path):
            if "template" in document.get("spec", {}):
                yield f"{path.relative_to(ROOT)}:{document['kind']}", document["spec"]["template"]["spec"]


def settings_of(environment: list[Document]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in environment if entry["name"].startswith(PREFIX)}


def test_every_variable_is_a_setting_with_a_value_that_it_takes() -> None:
    seen = 0
    for name, container in containers():
        variables = settings_of(container.get("env", []))
        seen += len(variables)
        settings, warnings = read_settings(variables)
        assert warnings == [], name
        assert settings
    assert seen >= 4


def test_compose_and_its_example_name_only_settings() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    variables = dict(re.findall(r"^# (CONTRAFLOW_\w+)=(.*)$", example, re.MULTILINE))
    keys = variables.pop("CONTRAFLOW_API_KEYS")
    assert keys.startswith("sha256:")
    read_settings(variables)
    others = set(re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE)) - set(variables) - {"CONTRAFLOW_API_KEYS"}
    used = set(re.findall(r"\$\{([A-Z_]+):?-", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert others == used


def test_no_service_link_can_reach_the_settings() -> None:
    for name, pod in pods():
        if "containers" in pod and "serviceAccountName" in pod:
            assert pod["enableServiceLinks"] is False, name


def test_termination_leaves_time_for_draining() -> None:
    (deployment,) = documents(KUBERNETES / "base" / "deployment.yaml")
    pod = deployment["spec"]["template"]["spec"]
    settings, _ = read_settings(settings_of(pod["containers"][0]["env"]))
    needed = settings.drain_delay + settings.shutdown_grace
    assert needed + 5 <= pod["terminationGracePeriodSeconds"]
    defaults = Settings()
    compose = int(COMPOSE["services"]["contraflow"]["stop_grace_period"].removesuffix("s"))
    assert defaults.drain_delay + defaults.shutdown_grace + 5 <= compose
    (inference,) = documents(ROOT / "deploy" / "kserve" / "inference-service.yaml")
    kserve = inference["spec"]["predictor"]["terminationGracePeriodSeconds"]
    assert defaults.drain_delay + defaults.shutdown_grace + 5 <= kserve


def test_traffic_stops_before_the_service_does() -> None:
    """Readiness must fail, and be noticed, while the service still answers."""
    (deployment,) = documents(KUBERNETES / "base" / "deployment.yaml")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    settings, _ = read_settings(settings_of(container["env"]))
    probe = container["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < settings.drain_delay


def test_every_container_of_ours_is_restricted() -> None:
    """The restricted profile of Kubernetes' Pod Security Standards, and a read-only root."""
    for name, container in containers():
        if "image" not in container:
            continue  # a patch
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False, name
        assert context["readOnlyRootFilesystem"] is True, name
        assert context["capabilities"]["drop"] == ["ALL"], name
    for name, pod in pods():
        if "securityContext" in pod:
            assert pod["securityContext"]["runAsNonRoot"] is True, name
            assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", name


def test_volumes_belong_to_a_group_of_the_service() -> None:
    """Whoever wrote a claim's files, the service may read them: the kubelet gives the volume to that group."""
    contexts = {name: pod["securityContext"] for name, pod in pods() if "securityContext" in pod}
    assert len(contexts) >= 3
    for name, context in contexts.items():
        assert context["fsGroup"] == context["runAsGroup"] == context["runAsUser"] == 10001, name
    (inference,) = documents(ROOT / "deploy" / "kserve" / "inference-service.yaml")
    (runtime,) = documents(ROOT / "deploy" / "kserve" / "serving-runtime.yaml")
    user = runtime["spec"]["containers"][0]["securityContext"]["runAsUser"]
    assert inference["spec"]["predictor"]["securityContext"]["fsGroup"] == user
    (volume,) = documents(KUBERNETES / "components" / "bundles-volume" / "volume.yaml")
    (claim,) = volume["spec"]["template"]["spec"]["volumes"]
    assert "readOnly" not in claim["persistentVolumeClaim"]  # such a volume is given to nobody


def test_the_default_model_is_set_for_the_shipped_bundles_and_for_no_others() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    named = re.findall(r"CONTRAFLOW_DEFAULT_MODEL=(\S+)", dockerfile)
    assert named == ["resnet20"]
    assert (ROOT / "models" / "bundles" / named[0] / "bundle.json").is_file()
    assert COMPOSE["services"]["contraflow"]["environment"] == {
        "CONTRAFLOW_DEFAULT_MODEL": f"${{DEFAULT_MODEL-{named[0]}}}"
    }
    mounts = [KUBERNETES / "components" / "bundles-volume" / "volume.yaml", ROOT / "deploy/kserve/serving-runtime.yaml"]
    for path in mounts:
        (document,) = documents(path)
        spec = document["spec"].get("template", document)["spec"]
        assert settings_of(spec["containers"][0]["env"])["CONTRAFLOW_DEFAULT_MODEL"] == "", path


@pytest.mark.skipif(shutil.which("make") is None, reason="make says what it would run")
@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        ([], "--default-model resnet20"),
        (["BUNDLES=models/bundles/"], "--default-model resnet20"),
        (["BUNDLES=/my/bundles"], None),
        (["BUNDLES=/my/bundles", "DEFAULT_MODEL=mine@2"], "--default-model mine@2"),
    ],
)
def test_make_serve_names_a_default_of_the_shipped_bundles_only(arguments: list[str], flag: str | None) -> None:
    command = ["make", "--dry-run", "--always-make", "serve", "ACCELERATOR=cpu", *arguments]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    serving = said[said.index("-m service") :]
    assert "--bundles" in serving
    assert (flag in serving) if flag else "--default-model" not in serving


def test_every_probe_asks_a_path_that_exists() -> None:
    paths = {getattr(route, "path", None) for router in ROUTERS for route in router.routes}
    probed = {
        container[probe]["httpGet"]["path"]
        for _, container in containers()
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        if "httpGet" in container.get(probe, {})
    }
    assert probed >= {"/health/live", "/health/ready"}
    assert probed <= paths


def test_no_probe_that_starts_a_container_again_asks_for_readiness() -> None:
    """A folder that takes long to read, or a default model that is yet to come, would be a loop of restarts."""
    for name, container in containers():
        for probe in ("startupProbe", "livenessProbe"):
            if "httpGet" in container.get(probe, {}):
                assert container[probe]["httpGet"]["path"].endswith("/health/live"), name


def test_every_selector_picks_the_pods_of_the_deployment() -> None:
    """An empty selector would pick every pod of the namespace."""
    (deployment,) = documents(KUBERNETES / "base" / "deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (service,) = documents(KUBERNETES / "base" / "service.yaml")
    (budget,) = documents(KUBERNETES / "base" / "disruption-budget.yaml")
    (policy,) = documents(KUBERNETES / "base" / "network-policy.yaml")
    selectors = [
        service["spec"]["selector"],
        deployment["spec"]["selector"]["matchLabels"],
        budget["spec"]["selector"]["matchLabels"],
        policy["spec"]["podSelector"]["matchLabels"],
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels.items()


def test_the_gpu_is_asked_for_by_name_and_required_of_the_service() -> None:
    (patch,) = documents(KUBERNETES / "overlays" / "gpu" / "resources.yaml")
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert settings_of(container["env"]) == {"CONTRAFLOW_EXECUTION_PROVIDER": "cuda"}
    devices = COMPOSE["services"]["contraflow-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


@pytest.mark.parametrize("profile", [None, "gpu", "monitoring"])
def test_compose_profiles_start_what_they_promise(profile: str | None) -> None:
    promised = {None: {"contraflow"}, "gpu": {"contraflow-gpu"}, "monitoring": {"prometheus", "grafana"}}
    started = {name for name, service in COMPOSE["services"].items() if service.get("profiles", [None]) == [profile]}
    assert started == promised[profile]


def test_compose_mounts_only_what_is_there_and_read_only() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        for volume in service["volumes"]:
            source = re.sub(r"\$\{\w+:-(.*?)\}", r"\1", volume).split(":")[0]
            if source.startswith("./") and source != "./models/bundles":
                assert volume.endswith(":ro"), volume
                assert (ROOT / source).exists(), volume


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl renders the kustomizations")
@pytest.mark.parametrize("kustomization", KUSTOMIZATIONS)
def test_what_kustomize_renders_passes_the_strict_schema(kustomization: str) -> None:
    rendered = render(ROOT / kustomization)
    assert validate(rendered) >= 2


@pytest.mark.parametrize(
    "path", [path for path in MANIFESTS if path.parent.name in ("base", "batch", "kserve")], ids=lambda path: path.name
)
def test_what_is_no_patch_passes_the_strict_schema_as_it_stands(path: Path) -> None:
    validate(documents(path))


def test_a_misspelt_field_does_not_pass_the_schema() -> None:
    (service,) = documents(KUBERNETES / "base" / "service.yaml")
    validate([service])
    with pytest.raises(ManifestError, match="selectors"):
        validate([{**service, "spec": {**service["spec"], "selectors": {}}}])


def test_kustomizations_list_every_file_beside_them() -> None:
    for kustomization in KUBERNETES.rglob("kustomization.yaml"):
        (document,) = documents(kustomization)
        named = {patch["path"] for patch in document.get("patches", [])} | set(document.get("resources", []))
        beside = {path.name for path in kustomization.parent.glob("*.yaml")} - {"kustomization.yaml"}
        assert beside <= named, kustomization


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl renders the kustomizations")
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


def test_kserve_gets_an_http_probe_a_cpu_limit_and_the_open_protocol() -> None:
    (runtime,) = documents(ROOT / "deploy" / "kserve" / "serving-runtime.yaml")
    (service,) = documents(ROOT / "deploy" / "kserve" / "inference-service.yaml")
    (container,) = runtime["spec"]["containers"]
    settings, _ = read_settings(settings_of(container["env"]))
    assert container["name"] == "kserve-container"
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": settings.http_port}
    assert container["ports"][0]["containerPort"] == settings.http_port
    assert str(settings.bundles) == "/mnt/models"
    assert float(container["resources"]["limits"]["cpu"]) > 1
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert model["modelFormat"]["name"] in [known["name"] for known in runtime["spec"]["supportedModelFormats"]]


def test_bash_is_never_needed() -> None:
    """The image's shell is no part of the contract: every command is in exec form."""
    for name, container in containers():
        for word in [*container.get("command", []), *container.get("args", [])]:
            assert word not in ("sh", "bash", "/bin/sh", "/bin/bash"), name


def metric_names(text: str) -> set[str]:
    """Metrics of ours in a query language's text, without the suffixes that histograms and counters get."""
    found = re.findall(r"\bcontraflow_[a-z_]+\b", text)
    return {re.sub(r"_(total|bucket|sum|count|info)$", "", name) for name in found}


@pytest.mark.parametrize(
    "path",
    ["prometheus/rules.yml", "grafana/dashboards/contraflow.json", "kubernetes/components/queue-time/metric.yaml"],
)
def test_every_metric_that_is_looked_at_is_one_that_the_service_counts(path: str) -> None:
    served = {metric.name for metric in create_app(Settings()).service.metrics.collect()}
    looked_at = metric_names((ROOT / "deploy" / path).read_text(encoding="utf-8"))
    assert looked_at
    assert looked_at <= served


def test_every_query_of_the_dashboard_can_be_asked_of_prometheus_as_it_is() -> None:
    asked = expressions(ROOT / "deploy/grafana/dashboards/contraflow.json")
    assert len(asked) > 10
    for panel, expression in asked:
        assert "$" not in expression, panel


def test_no_two_panels_of_the_dashboard_lie_on_each_other() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/contraflow.json").read_text(encoding="utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
