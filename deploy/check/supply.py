"""What is in the image (software bill of materials) and what is known against it (audit)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from deploy.check.engine import Engine
from deploy.check.tools import tool
from deploy.check.trial import Trial

LIST = (
    "from importlib.metadata import distributions; "
    "print('\\n'.join(sorted({d.name + '==' + d.version for d in distributions(path=__import__('sys').path[1:])})))"
)


def installed(engine: Engine, image: str) -> list[str]:
    """`name==version` of every Python package in the image's environment."""
    return engine.read("run", "--rm", "--entrypoint=python", image, "-c", LIST).split()


def bill_of_materials(packages: list[str], destination: Path) -> Trial:
    """CycloneDX, by cyclonedx-py, into `destination`."""
    name, cyclonedx = "software bill of materials (CycloneDX)", tool("cyclonedx-py")
    if cyclonedx is None:
        return Trial(name, "cyclonedx-py is not installed (`pip install cyclonedx-bom`)", "written", False)
    destination.parent.mkdir(parents=True, exist_ok=True)
    command = [cyclonedx, "requirements", "--output-reproducible", "--output-file", str(destination), "-"]
    done = subprocess.run(command, input="\n".join(packages), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return Trial(name, done.stderr.strip().splitlines()[-1], "written", False)
    components = len(json.loads(destination.read_text(encoding="utf-8"))["components"])
    return Trial(name, f"{components} components", f"{len(packages)} components", components == len(packages))


def audit(packages: list[str], scratch: Path) -> Trial:
    """Known vulnerabilities, by pip-audit; a package that its database does not answer for is not counted as safe."""
    name, auditor = "known vulnerabilities (pip-audit)", tool("pip-audit")
    if auditor is None:
        return Trial(name, "pip-audit is not installed", "none known", False)
    scratch.mkdir(parents=True, exist_ok=True)
    requirements = scratch / "installed.txt"
    requirements.write_text("\n".join(packages) + "\n", encoding="utf-8")
    command = [auditor, "--requirement", str(requirements), "--no-deps", "--disable-pip", "--format=json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return Trial(name, f"not audited: {last.split(':')[0]}", "none known", False)
    skipped = [entry["name"] for entry in dependencies if "skip_reason" in entry]
    known = [f"{entry['name']} {found['id']}" for entry in dependencies for found in entry.get("vulns", [])]
    audited = len(dependencies) - len(skipped)
    found = (
        f"{audited} of {len(packages)} packages answered for, {len(known)} vulnerabilities {', '.join(known)}".strip()
    )
    if skipped:
        found += f"; the database did not answer for {len(skipped)}, so nothing is known of them"
    return Trial(name, found, "none known, all answered for", not known and not skipped)
