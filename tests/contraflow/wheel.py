"""The project's wheel, built from a copy of its packages, and an environment outside the repository that it is in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("contraflow", "service", "export", "models")

BLOCKING = """
import os, sys
for name in os.environ.get("ABSENT", "").split():
    sys.modules[name] = None  # as if it were not installed
"""


def built(folder: Path) -> Path:
    """Build the wheel below `folder`; what training leaves in the repository lies there too, and must stay out."""
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__", "runs", "*.bin", "guide")
        )
    checkpoint = source / "models" / "runs" / "resnet20" / "checkpoint.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    for folder_beside in ("docs", "deploy/packaging"):
        shutil.copytree(ROOT / folder_beside, source / folder_beside)
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt", "zensical.toml"):
        shutil.copy(ROOT / name, source)
    pip("wheel", str(source), "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    (wheel,) = folder.glob("*.whl")
    return wheel


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Installation:
    """A virtual environment, and the folder outside the repository where its commands run."""

    environment: Path
    folder: Path

    def command(self, *words: str | Path) -> list[str]:
        return [str(self.environment / "bin" / "contraflow"), *map(str, words)]

    def module(self, *words: str | Path) -> list[str]:
        return [str(self.environment / "bin" / "python"), "-m", *map(str, words)]

    def install(self, *packages: str) -> None:
        """Install packages from a registry, at the versions that the project pins."""
        python = str(self.environment / "bin" / "python")
        pip("--python", python, "install", "--constraint", str(ROOT / "constraints.txt"), *packages)

    def run(self, command: Sequence[str], absent: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command as if the packages named by `absent` were not installed."""
        environment = {**self.variables(), "ABSENT": " ".join(absent)}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    @staticmethod
    def variables() -> dict[str, str]:
        """Return the variables of this process without those that would show the repository or set the service."""
        return {
            name: value
            for name, value in os.environ.items()
            if name != "PYTHONPATH" and not name.startswith("CONTRAFLOW_")
        }


def empty(folder: Path) -> Installation:
    """Make an environment without any package."""
    environment, elsewhere = folder / "environment", folder / "elsewhere"
    elsewhere.mkdir()
    venv.create(environment, symlinks=True, with_pip=False)
    return Installation(environment, elsewhere)


def installed_beside(wheel: Path, folder: Path) -> Installation:
    """Install the wheel alone into a new environment, which borrows every other package from the tests' own."""
    installation = empty(folder)
    python = str(installation.environment / "bin" / "python")
    pip("--python", python, "install", "--no-deps", "--no-index", str(wheel))
    (packages,) = installation.environment.glob("lib/python*/site-packages")
    # The tests' environment is searched last, and its own .pth files, which show the repository, are not read.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (packages / "sitecustomize.py").write_text(BLOCKING)
    return installation
