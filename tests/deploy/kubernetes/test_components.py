"""Every component adds to an overlay, as kustomize renders it, what the settings of the service expect."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from service.settings.fields import Settings
from service.settings.reading import PREFIX, read_settings
from tests.deploy.manifests import COMBINATIONS, KUBERNETES, ROOT, Document, render, render_combination
from tests.programs import needs

pytestmark = needs("kubectl")


def rendered(combination: str) -> dict[str, Document]:
    """Return the resources of a combination by kind; there is one of each."""
    documents = render_combination(combination)
    kinds = {document["kind"]: document for document in documents}
    assert len(kinds) == len(documents)
    return kinds


def pod_of(resources: dict[str, Document]) -> Document:
    pod: Document = resources["Deployment"]["spec"]["template"]["spec"]
    return pod


def service_of(resources: dict[str, Document]) -> Document:
    (container,) = pod_of(resources)["containers"]
    return dict(container)


def variables(container: Document) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def settings(container: Document) -> Settings:
    ours = {name: value for name, value in variables(container).items() if name.startswith(PREFIX)}
    return read_settings(ours)[0]


def lets_in(resources: dict[str, Document]) -> list[tuple[str, str]]:
    """Return (namespace, port) of what the network policy lets in; "" is every namespace of the cluster."""
    found = []
    for rule in resources["NetworkPolicy"]["spec"]["ingress"]:
        for origin in rule["from"]:
            labels = origin["namespaceSelector"].get("matchLabels", {})
            found += [(labels.get("kubernetes.io/metadata.name", ""), port["port"]) for port in rule["ports"]]
    return found


def images(documents: tuple[Document, ...] | list[Document]) -> set[str]:
    """Return the images of all containers in some resources."""
    return set(re.findall(r"^ *-? ?image: (\S+)$", yaml.safe_dump_all(documents), re.MULTILINE))


def test_one_file_names_the_images_of_all_manifests() -> None:
    text = (KUBERNETES / "components" / "image" / "kustomization.yaml").read_text(encoding="utf-8")
    named = {f"{entry['newName']}:{entry['newTag']}" for entry in yaml.safe_load(text)["images"]}
    places = ["overlays/cpu", "overlays/gpu", "overlays/autoscaled", "batch", "../kserve"]
    found = set().union(*(images(render(KUBERNETES / place)) for place in places))
    assert found == named
    (name,) = {image.split(":")[0] for image in named}
    for path in (ROOT / "deploy").rglob("*.yaml"):
        if path.parent.name != "image":
            assert not re.search(rf"^[^#]*\b({name}:|newTag)", path.read_text(encoding="utf-8"), re.MULTILINE), path
    assert f"IMAGE ?= {name}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"image: ${{IMAGE:-{name}}}:cpu\n" in (ROOT / "docker-compose.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_every_image_of_others_is_pinned_and_every_container_restricted(combination: str) -> None:
    resources = rendered(combination)
    pod = pod_of(resources)
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        assert re.fullmatch(r"contraflow:(cpu|gpu)|docker\.io/\S+:v?\d+\.\d+\.\d+", container["image"])
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"]["drop"] == ["ALL"]


def test_an_ingress_passes_on_what_the_service_takes_and_waits_longer_than_it() -> None:
    resources = rendered("ingress")
    limits = settings(service_of(resources))
    annotations = {key.split("/")[1]: value for key, value in resources["Ingress"]["metadata"]["annotations"].items()}
    assert int(annotations["proxy-body-size"].removesuffix("m")) * 2**20 == limits.max_body_bytes
    assert float(annotations["proxy-read-timeout"]) * 1000 > limits.deadline_ms
    assert lets_in(resources) == [("ingress-nginx", "http"), ("monitoring", "http")]


def test_a_gateway_waits_longer_than_the_service() -> None:
    resources = rendered("gateway")
    (rule,) = resources["HTTPRoute"]["spec"]["rules"]
    assert float(rule["timeouts"]["request"].removesuffix("s")) * 1000 > settings(service_of(resources)).deadline_ms
    (backend,) = rule["backendRefs"]
    assert backend["name"] == resources["Service"]["metadata"]["name"]
    assert backend["port"] in [port["port"] for port in resources["Service"]["spec"]["ports"]]
    assert lets_in(resources) == [("envoy-gateway-system", "http"), ("monitoring", "http"), ("monitoring", "metrics")]


def test_the_path_of_a_prefix_is_the_one_that_the_service_expects() -> None:
    ingress, gateway = rendered("ingress"), rendered("gateway")
    (path,) = ingress["Ingress"]["spec"]["rules"][0]["http"]["paths"]
    (match,) = gateway["HTTPRoute"]["spec"]["rules"][0]["matches"]
    for resources in (ingress, gateway):
        prefix = variables(service_of(resources))["CONTRAFLOW_ROOT_PATH"]
        assert prefix == path["path"] == match["path"]["value"]


def test_keys_are_a_folder_that_follows_its_secret() -> None:
    """A file mounted by `subPath` would stay as it was when the Secret changes."""
    resources = rendered("ingress")
    container = service_of(resources)
    (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == "keys"]
    assert "subPath" not in mount
    assert variables(container)["CONTRAFLOW_API_KEYS_FILE"].rpartition("/")[0] == mount["mountPath"]
    (volume,) = [volume for volume in pod_of(resources)["volumes"] if volume["name"] == "keys"]
    assert volume["secret"]["defaultMode"] & 0o040, "the service reads it as a member of fsGroup"
    assert not volume["secret"].get("optional", False), "without the Secret nothing may be served"


def test_prometheus_has_a_key_or_a_port_of_its_own() -> None:
    (with_key,) = rendered("ingress")["ServiceMonitor"]["spec"]["endpoints"]
    assert with_key["authorization"] == {
        "type": "Bearer",
        "credentials": {"name": "contraflow-metrics-key", "key": "key"},
    }
    resources = rendered("gateway")
    (without,) = resources["ServiceMonitor"]["spec"]["endpoints"]
    assert "authorization" not in without
    container = service_of(resources)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert str(ports[without["port"]]) == variables(container)["CONTRAFLOW_METRICS_PORT"]
    targets = {port["name"]: port["targetPort"] for port in resources["Service"]["spec"]["ports"]}
    assert targets == {"http": "http", "metrics": "metrics"}


def test_keda_scales_by_the_rules_of_the_autoscaler() -> None:
    keda = rendered("ingress")
    autoscaler = rendered("adapter")["HorizontalPodAutoscaler"]["spec"]
    scaled = keda["ScaledObject"]["spec"]
    assert scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == autoscaler["behavior"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (
        autoscaler["minReplicas"],
        autoscaler["maxReplicas"],
    )
    cpu, wait = autoscaler["metrics"]
    by_wait, by_cpu = scaled["triggers"]
    assert by_cpu["metadata"]["value"] == str(cpu["containerResource"]["target"]["averageUtilization"])
    milliseconds = int(wait["pods"]["target"]["averageValue"].removesuffix("m"))
    assert float(by_wait["metadata"]["threshold"]) * 1000 == milliseconds
    assert wait["pods"]["metric"]["name"] in by_wait["metadata"]["query"]
    assert scaled["scaleTargetRef"]["name"] == keda["Deployment"]["metadata"]["name"]
    for resources in (keda, rendered("adapter")):
        assert "replicas" not in resources["Deployment"]["spec"]


@pytest.mark.parametrize("combination", ["ingress", "gateway", "import"])
def test_a_fetcher_writes_where_the_service_reads_and_is_let_out(combination: str) -> None:
    resources = rendered(combination)
    (fetcher,) = pod_of(resources)["initContainers"]
    written = {mount["name"]: mount["mountPath"] for mount in fetcher["volumeMounts"] if not mount.get("readOnly")}
    read = {
        mount["name"]: mount["mountPath"] for mount in service_of(resources)["volumeMounts"] if mount.get("readOnly")
    }
    assert written["bundles"] == read["bundles"] == "/bundles"
    assert any(argument.startswith(written["bundles"]) for argument in fetcher["args"])
    assert {"port": 443, "protocol": "TCP"} in ports_out(resources)
    assert {"port": 53, "protocol": "UDP"} in ports_out(resources)


def ports_out(resources: dict[str, Document]) -> list[Any]:
    return [port for rule in resources["NetworkPolicy"]["spec"]["egress"] for port in rule["ports"]]


def test_what_is_imported_has_a_place_that_can_be_written() -> None:
    container = service_of(rendered("import"))
    (cache,) = [mount for mount in container["volumeMounts"] if mount["name"] == "cache"]
    assert not cache.get("readOnly", False)
    assert variables(container)["CONTRAFLOW_CACHE"].startswith(cache["mountPath"])
    assert container["args"][:1] == ["serve"]
    runtimes = {document["metadata"]["name"]: document["spec"] for document in render(ROOT / "deploy" / "kserve")}
    (container,) = runtimes["contraflow-importing"]["containers"]
    assert variables(container)["CONTRAFLOW_CACHE"] in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_nothing_leaves_a_pod_unless_a_component_needs_it() -> None:
    assert rendered("adapter")["NetworkPolicy"]["spec"]["egress"] == []
    assert rendered("image volume")["NetworkPolicy"]["spec"]["egress"] == []


def test_telemetry_is_let_out_to_the_collector() -> None:
    resources = rendered("ingress")
    endpoint = variables(service_of(resources))["OTEL_EXPORTER_OTLP_ENDPOINT"]
    namespace, port = re.fullmatch(r"http://[\w-]+\.([\w-]+)\.svc:(\d+)", endpoint).groups()  # type: ignore[union-attr]
    rule = {
        "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}],
        "ports": [{"port": int(port), "protocol": "TCP"}],
    }
    assert rule in resources["NetworkPolicy"]["spec"]["egress"]


@pytest.mark.parametrize(
    ("example", "scheme"),
    [("inference-service", "pvc"), ("s3", "s3"), ("gcs", "gs"), ("hugging-face", "hf"), ("oci", "oci")],
)
def test_kserve_examples_name_a_store_a_runtime_and_who_may_read(example: str, scheme: str) -> None:
    *accounts, service = render(ROOT / "deploy" / "kserve" / example)
    predictor = service["spec"]["predictor"]
    runtimes = {document["metadata"]["name"]: document["spec"] for document in render(ROOT / "deploy" / "kserve")}
    runtime = runtimes[predictor["model"]["runtime"]]
    assert predictor["model"]["storageUri"].startswith(f"{scheme}://")
    assert predictor["model"]["modelFormat"]["name"] in [known["name"] for known in runtime["supportedModelFormats"]]
    assert [account["metadata"]["name"] for account in accounts] == (
        [predictor["serviceAccountName"]] if "serviceAccountName" in predictor else []
    )
    for account in accounts:
        assert account["secrets"]
