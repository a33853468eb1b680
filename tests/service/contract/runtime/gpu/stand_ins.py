"""Stand-ins for NVIDIA's libraries, built from C when a test needs one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

COMPILER = shutil.which("cc")

with_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler for the stand-in")


def built(source: str, library: Path, *macros: str) -> Path:
    """Build the shared `library` from a file of this folder; a macro is NAME or NAME=VALUE. Return the library."""
    defined = [f"-D{macro}" for macro in macros]
    file = Path(__file__).with_name(source)
    subprocess.run([str(COMPILER), "-shared", "-fPIC", *defined, str(file), "-o", str(library)], check=True)
    return library
