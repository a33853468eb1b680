"""Print the packages the service needs, one per line: `python dependencies.py cpu` (or `gpu`).

Read from pyproject.toml, so that the image's dependency layer changes only with that file and the constraints.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, extra: str) -> list[str]:
    """Return the project's own dependencies and those of one extra."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"][extra]]


if __name__ == "__main__":
    print("\n".join(requirements(Path("pyproject.toml"), sys.argv[1])))
