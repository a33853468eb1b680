"""Builds the project's packages with setuptools (PEP 517), once the documentation is built into `service/guide`.

A package that is installed from a clone therefore brings its guide, which the service shows at `/guide/`. Nothing is
built where there is no documentation: in a copy of the packages alone, or in a source distribution, which has the site.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import prepare_metadata_for_build_editable, prepare_metadata_for_build_wheel

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = Mapping[str, str | list[str] | None] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return what a wheel needs to be built."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_generator()]


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    """Return what a source distribution needs to be built."""
    return [*build_meta.get_requires_for_build_sdist(config_settings), *_generator()]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    """Return what an installation that follows the clone needs to be built."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *_generator()]


def build_wheel(directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Build a wheel in `directory`, and return its name."""
    _build_site()
    return str(build_meta.build_wheel(directory, config_settings, metadata_directory))


def build_sdist(directory: str, config_settings: Settings = None) -> str:
    """Build a source distribution in `directory`, and return its name."""
    _build_site()
    return str(build_meta.build_sdist(directory, config_settings))


def build_editable(directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Build the wheel of an installation that follows the clone, and return its name."""
    _build_site()
    return str(build_meta.build_editable(directory, config_settings, metadata_directory))


def _has_documentation() -> bool:
    return Path("zensical.toml").exists() and Path("docs").is_dir()


def _generator() -> list[str]:
    if not _has_documentation():
        return []
    pinned = [line for line in Path("constraints.txt").read_text().splitlines() if line.startswith("zensical==")]
    return pinned or ["zensical"]


def _build_site() -> None:
    if _has_documentation():
        shutil.rmtree(Path("service", "guide"), ignore_errors=True)  # pages that are no more
        # The generator reports on standard output, where pip reads nothing; its colours are for a terminal.
        subprocess.run(
            [sys.executable, "-m", "zensical", "build"],
            env=os.environ | {"NO_COLOR": "1"},
            check=True,
            stdout=sys.stderr,
        )
