"""The pages of the reference say what the code does: each made section is what the command would write now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from bench.harness.page import marks
from bench.reference import metrics, settings
from bench.reference.__main__ import SECTIONS, command_of
from bench.reference.markdown import cell
from service.app import ROUTERS
from service.contract.bundle_schema import Bundle
from tests.docs.pages import DOCS

REFERENCE = DOCS / "reference"


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_is_what_the_command_would_write(name: str) -> None:
    page, text = SECTIONS[name]
    begin, end = marks(command_of(name))
    written = (REFERENCE / page).read_text(encoding="utf-8").partition(f"{begin}\n")[2].partition(f"\n{end}")[0]
    assert written == text().strip(), f"it is stale: run `{command_of(name)}`"


def test_the_table_of_endpoints_has_those_of_the_routes() -> None:
    table = (REFERENCE / "endpoints.md").read_text(encoding="utf-8").partition("|---|---|\n")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(GET|POST) (/[^`]*)`", table))
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert named <= {(method, route.path) for route in routes for method in route.methods or ()}
    # The row of /v2 stands for the whole protocol; files of the pages are in no schema.
    own = [route for route in routes if route.include_in_schema and not route.path.startswith("/v2/")]
    assert named >= {(method, route.path) for route in own for method in route.methods or ()}


def test_the_table_of_the_protocol_has_its_addresses() -> None:
    page = (REFERENCE / "open-inference-protocol.md").read_text(encoding="utf-8")
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    for route in routes:
        if route.path.startswith("/v2") and "{version}" not in route.path:
            shown = (
                "`…/unload`" if route.path.endswith("/unload") else f"{next(iter(route.methods or ()))} {route.path}`"
            )
            assert shown in page


def test_every_member_of_an_answer_says_what_it_is() -> None:
    """A row of a table of fields has a meaning, or says at least what is required."""
    for page in ("endpoints.md", "bundle-format.md"):
        rows = re.findall(r"^\| `\w+` \| [^|]* \| ([^|]*)\|$", (REFERENCE / page).read_text(encoding="utf-8"), re.M)
        assert len(rows) > len(Bundle.model_fields)
        assert all(row.strip(" ;*") not in ("", "required") for row in rows)


def test_a_setting_in_no_group_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "GROUPS", {**settings.GROUPS, "Waiting": "deadline_ms"})
    with pytest.raises(ValueError, match="every setting once: max_queued_images"):
        settings.settings()


def test_a_metric_in_no_group_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "GROUPS", {**metrics.GROUPS, "Models": ("contraflow_bundles",)})
    with pytest.raises(ValueError, match="contraflow_model_ready"):
        metrics.metrics()


def test_no_cell_of_a_table_ends_early() -> None:
    for page in sorted({section.page for section in SECTIONS.values()}):
        _check_tables(REFERENCE / page)


def _check_tables(page: Path) -> None:
    columns = 0
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1 if line.startswith("|") else 0
        assert not (columns and cells) or cells == columns, f"{page.name}: {line}"
        columns = cells


def test_a_cell_cannot_end_its_table_nor_begin_a_tag() -> None:
    assert cell("|x| of <y>\nand `a|b<c`") == r"\|x\| of &lt;y> and <code>a&#124;b&lt;c</code>"
    assert cell("`<y>`") == "`<y>`"
