"""Settings, endpoints, make targets and files that the README names exist, and no setting or endpoint is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from service.app import ROUTERS
from service.settings.fields import Settings
from service.settings.reading import PREFIX, shown_default

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def settings_row(name: str) -> str:
    default = f"`{shown_default(name)}`" if shown_default(name) else ""
    meaning = Settings.model_fields[name].description
    return f"| `--{name.replace('_', '-')}` | `{PREFIX}{name.upper()}` | {default} | {meaning} |"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_its_row(name: str) -> None:
    assert settings_row(name) in README


def test_the_table_of_endpoints_has_those_of_the_routes() -> None:
    table = README.partition("## Endpoints\n")[2].partition("\n\nErrors are")[0]
    named = set(re.findall(r"`(GET|POST) (/[^`]*)`", table))
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert named <= {(method, route.path) for route in routes for method in route.methods or ()}
    # The row of /v2 stands for the whole protocol; files of the pages are in no schema.
    own = [route for route in routes if route.include_in_schema and not route.path.startswith("/v2/")]
    assert named >= {(method, route.path) for route in own for method in route.methods or ()}


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z]+(?:-[a-z]+)*)", README))
    assert named
    assert named <= targets


def test_every_linked_file_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
