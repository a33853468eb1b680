"""The compose file against the settings of the service and the files beside it."""

from __future__ import annotations

import re

import pytest

from service.settings.reading import read_settings
from tests.deploy.manifests import COMPOSE, ROOT


def test_compose_and_its_example_name_only_settings() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    variables = dict(re.findall(r"^# (CONTRAFLOW_\w+)=(.*)$", example, re.MULTILINE))
    keys = variables.pop("CONTRAFLOW_API_KEYS")
    assert keys.startswith("sha256:")
    read_settings(variables)
    others = set(re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE)) - set(variables) - {"CONTRAFLOW_API_KEYS"}
    used = set(re.findall(r"\$\{([A-Z_]+):?-", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert others == used


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
