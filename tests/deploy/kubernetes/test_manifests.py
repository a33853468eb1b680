"""The Kubernetes and KServe manifests against the service that they start."""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.app import ROUTERS
from service.settings.fields import Settings
from service.settings.reading import PREFIX, read_settings
from tests.deploy.manifests import COMPOSE, KUBERNETES, MANIFESTS, ROOT, Document, read_documents

SERVING_RUNTIME = ROOT / "deploy" / "kserve" / "runtime" / "serving-runtime.yaml"
INFERENCE_SERVICE = ROOT / "deploy" / "kserve" / "inference-service" / "inference-service.yaml"


def containers() -> Iterator[tuple[str, Document]]:
    """Yield the place and the description of every container in every manifest, patches included."""
    for path in MANIFESTS:
        for document in read_documents(path):
            spec = document.get("spec", {})
            pod = spec.get("template", {}).get("spec", spec)
            for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
                yield f"{path.relative_to(ROOT)}:{container['name']}", container


def pods() -> Iterator[tuple[str, Document]]:
    for path in MANIFESTS:
        for document in read_documents(path):
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


def test_no_service_link_can_reach_the_settings() -> None:
    for name, pod in pods():
        if "containers" in pod and "serviceAccountName" in pod:
            assert pod["enableServiceLinks"] is False, name


def test_termination_leaves_time_for_draining() -> None:
    (deployment,) = read_documents(KUBERNETES / "base" / "deployment.yaml")
    pod = deployment["spec"]["template"]["spec"]
    settings, _ = read_settings(settings_of(pod["containers"][0]["env"]))
    needed = settings.drain_delay + settings.shutdown_grace
    assert needed + 5 <= pod["terminationGracePeriodSeconds"]
    defaults = Settings()
    compose = int(COMPOSE["services"]["contraflow"]["stop_grace_period"].removesuffix("s"))
    assert defaults.drain_delay + defaults.shutdown_grace + 5 <= compose
    (inference,) = read_documents(INFERENCE_SERVICE)
    kserve = inference["spec"]["predictor"]["terminationGracePeriodSeconds"]
    assert defaults.drain_delay + defaults.shutdown_grace + 5 <= kserve


def test_traffic_stops_before_the_service_does() -> None:
    """Readiness must fail, and be noticed, while the service still answers."""
    (deployment,) = read_documents(KUBERNETES / "base" / "deployment.yaml")
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
    """The kubelet gives the volume to `fsGroup`, so that the service can read the claim's files whoever wrote them."""
    contexts = {name: pod["securityContext"] for name, pod in pods() if "securityContext" in pod}
    assert len(contexts) >= 3
    for name, context in contexts.items():
        assert context["fsGroup"] == context["runAsGroup"] == context["runAsUser"] == 10001, name
    (inference,) = read_documents(INFERENCE_SERVICE)
    (runtime,) = read_documents(SERVING_RUNTIME)
    user = runtime["spec"]["containers"][0]["securityContext"]["runAsUser"]
    assert inference["spec"]["predictor"]["securityContext"]["fsGroup"] == user
    (volume,) = read_documents(KUBERNETES / "components" / "bundles-volume" / "volume.yaml")
    (claim,) = volume["spec"]["template"]["spec"]["volumes"]
    assert "readOnly" not in claim["persistentVolumeClaim"]  # such a volume is given to nobody


def test_a_default_model_is_set_only_where_one_may_say_another() -> None:
    """The image is given all kinds of models, as arguments or in its folder; a default would have to be among them."""
    setting = "CONTRAFLOW_DEFAULT_MODEL"
    environment = COMPOSE["services"]["contraflow"]["environment"]
    (named,) = re.findall(r"\$\{DEFAULT_MODEL-(\w+)\}", environment[setting])
    assert (ROOT / "models" / "bundles" / named / "bundle.json").is_file()
    others = [ROOT / "Dockerfile", *(ROOT / "deploy").rglob("*.yaml")]
    assert [path for path in others if setting in path.read_text(encoding="utf-8")] == []


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
    """Otherwise a folder that takes long to read, or a missing default model, would restart the container for ever."""
    for name, container in containers():
        for probe in ("startupProbe", "livenessProbe"):
            if "httpGet" in container.get(probe, {}):
                assert container[probe]["httpGet"]["path"].endswith("/health/live"), name


def test_every_selector_picks_the_pods_of_the_deployment() -> None:
    """An empty selector would pick every pod of the namespace."""
    (deployment,) = read_documents(KUBERNETES / "base" / "deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    (service,) = read_documents(KUBERNETES / "base" / "service.yaml")
    (budget,) = read_documents(KUBERNETES / "base" / "disruption-budget.yaml")
    (policy,) = read_documents(KUBERNETES / "base" / "network-policy.yaml")
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
    (patch,) = read_documents(KUBERNETES / "components" / "gpu" / "resources.yaml")
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert settings_of(container["env"]) == {"CONTRAFLOW_EXECUTION_PROVIDER": "cuda"}
    devices = COMPOSE["services"]["contraflow-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


def test_kserve_gets_an_http_probe_a_cpu_limit_and_the_open_protocol() -> None:
    (runtime,) = read_documents(SERVING_RUNTIME)
    (service,) = read_documents(INFERENCE_SERVICE)
    (container,) = runtime["spec"]["containers"]
    settings, _ = read_settings(settings_of(container["env"]))
    assert container["name"] == "kserve-container"
    assert container["readinessProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": settings.http_port}
    assert container["ports"][0]["containerPort"] == settings.http_port
    assert list(map(str, settings.bundles)) == ["/mnt/models"]
    assert float(container["resources"]["limits"]["cpu"]) > 1
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    assert model["modelFormat"]["name"] in [known["name"] for known in runtime["spec"]["supportedModelFormats"]]


def test_bash_is_never_needed() -> None:
    """Every command is in exec form, so that the image needs no shell."""
    for name, container in containers():
        for word in [*container.get("command", []), *container.get("args", [])]:
            assert word not in ("sh", "bash", "/bin/sh", "/bin/bash"), name
