"""Complete a bill of materials of the image's Python packages: `python -m deploy.image.bill_of_materials FILE`.

The file is CycloneDX in JSON. What the environment does not tell is added: the service's own version, and the pages'
third-party files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.image.vendored import Vendored, vendored
from service import __version__


def component(package: Vendored) -> dict[str, Any]:
    """Return the entry of a package of npm."""
    address = f"pkg:npm/{quote(package.name)}@{package.version}"
    return {
        "bom-ref": address,
        "type": "library",
        "name": package.name,
        "version": package.version,
        "purl": address,
        "licenses": [{"license": {"id": package.licence, "acknowledgement": "declared"}}],
    }


def complete(bill: dict[str, Any]) -> dict[str, Any]:
    """Return the bill with our version, and with the pages' packages as components that the service depends on."""
    root = {**bill["metadata"]["component"], "version": __version__}
    added = [component(package) for package in vendored()]
    names = [entry["bom-ref"] for entry in added]
    others = [entry for entry in bill["dependencies"] if entry["ref"] != root["bom-ref"]]
    (of_root,) = [entry for entry in bill["dependencies"] if entry["ref"] == root["bom-ref"]]
    of_root = {**of_root, "dependsOn": sorted([*of_root.get("dependsOn", []), *names])}
    return {
        **bill,
        "metadata": {**bill["metadata"], "component": root},
        "components": [*bill["components"], *added],
        "dependencies": [*others, of_root, *({"ref": name} for name in names)],
    }


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(
        json.dumps(complete(json.loads(path.read_text(encoding="utf-8"))), indent=2) + "\n", encoding="utf-8"
    )
