"""The documentation, built as a site into a folder of its own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from tests.docs.pages import DOCS, ROOT
from tests.programs import program


def built_site(folder: Path) -> Path:
    """Build the site below `folder` as `make docs` does, and return where it lies.

    Raises:
        AssertionError: the generator warns of something, such as a link that leads nowhere.
    """
    shutil.copytree(DOCS, folder / "docs")
    configuration = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    assert '"service/guide"' in configuration
    (folder / "zensical.toml").write_text(configuration.replace('"service/guide"', '"site"'), encoding="utf-8")
    built = subprocess.run(
        [program("zensical") or "zensical", "build", "--strict"],
        cwd=folder,
        text=True,
        capture_output=True,
        check=False,
    )
    report = re.sub(r"\x1b\[[\d;]*m", "", built.stdout + built.stderr)
    assert built.returncode == 0, report
    assert "arning" not in report, report
    return folder / "site"
