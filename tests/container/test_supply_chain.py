"""The packages in the image: their bill of materials, and what is known against them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.container.conftest import Finding
from tests.container.engine import ROOT, Engine, development_tool

pytestmark = pytest.mark.container

BILL_OF_MATERIALS = ROOT / "build" / "sbom-cpu.cdx.json"
LIST_PACKAGES = """
import sys
from importlib.metadata import distributions
print(*sorted({f"{found.name}=={found.version}" for found in distributions(path=sys.path[1:])}), sep="\\n")
"""


@pytest.fixture(scope="module")
def packages(engine: Engine, image: str) -> list[str]:
    """`name==version` of every Python package in the image's environment."""
    return engine.read("run", "--rm", "--entrypoint=python", image, "-c", LIST_PACKAGES).split()


def test_every_package_is_in_the_bill_of_materials(packages: list[str], finding: Finding) -> None:
    """The bill is written to build/, in CycloneDX's format."""
    BILL_OF_MATERIALS.parent.mkdir(exist_ok=True)
    options = ["requirements", "--output-reproducible", "--output-file", str(BILL_OF_MATERIALS), "-"]
    command = [development_tool("cyclonedx-py"), *options]
    subprocess.run(command, input="\n".join(packages), capture_output=True, text=True, check=True)
    components = len(json.loads(BILL_OF_MATERIALS.read_text(encoding="utf-8"))["components"])
    finding(
        "software bill of materials (CycloneDX)",
        found=f"{components} components",
        wanted=f"{len(packages)} components",
    )
    assert components == len(packages)


def test_nothing_is_known_against_any_package(packages: list[str], tmp_path: Path, finding: Finding) -> None:
    """A package that the database does not answer for does not count as safe."""
    requirements = tmp_path / "installed.txt"
    requirements.write_text("\n".join(packages) + "\n", encoding="utf-8")
    options = ["--requirement", str(requirements), "--no-deps", "--disable-pip", "--format=json"]
    command = [development_tool("pip-audit"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, f"not audited: {done.stderr.strip().splitlines()[-1:]}"
    dependencies = json.loads(done.stdout)["dependencies"]
    unanswered = [entry["name"] for entry in dependencies if "skip_reason" in entry]
    known = [f"{entry['name']} {found['id']}" for entry in dependencies for found in entry.get("vulns", [])]
    finding(
        "known vulnerabilities (pip-audit)",
        found=f"{len(dependencies) - len(unanswered)} of {len(packages)} packages answered for by the database, "
        f"{len(known)} vulnerabilities {', '.join(known)}".strip(),
        wanted="all answered for, none known",
    )
    assert not unanswered
    assert not known
