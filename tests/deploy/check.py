"""Validate all manifests: `python -m tests.deploy.check [CATALOGUE]`, a copy of github.com/datreeio/CRDs-catalog."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.deploy.manifests import (
    COMBINATIONS,
    KUSTOMIZATIONS,
    ROOT,
    ManifestError,
    render,
    render_combination,
    validate,
)


def main(catalogue: Path | None) -> int:
    """Print how many resources of each kustomization are valid; return 1 if one is not."""
    failed = False
    rendered = {name: render(ROOT / name) for name in KUSTOMIZATIONS}
    rendered |= {f"overlays/{COMBINATIONS[name][0]} ({name})": list(render_combination(name)) for name in COMBINATIONS}
    for name, documents in rendered.items():
        try:
            print(f"{name}: {validate(documents, catalogue)} of {len(documents)} resources are valid")
        except ManifestError as error:
            failed = True
            print(f"{name}: {error}")
    if catalogue is None:
        print("The kinds of operators were not validated: name a copy of their schemas (CRD_CATALOGUE=…).")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
