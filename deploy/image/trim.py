"""Remove the files of an environment that serving never reads, then compile the rest: `python trim.py /opt/contraflow`.

Each pattern is a folder or file below site-packages; a pattern that matches nothing is fine (the two
images hold different packages).
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
import sys
from pathlib import Path

UNUSED = (
    "**/tests",  # numpy's alone are 10 MB
    "**/*.pyi",
    "**/*.pyx",
    "**/*.a",
    "numpy/**/include",
    "numpy/f2py",
    "nvidia/*/include",
    "onnxruntime/transformers",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/datasets",
    "onnxruntime/backend",
    "onnxruntime/capi/libonnxruntime.so*",  # 35 MB for programs in C; Python's module holds its own copy
    "onnxruntime/capi/libonnxruntime_providers_tensorrt.so",
    "uvloop/loop.c",
)


def trim(site_packages: Path) -> None:
    """Delete everything that matches `UNUSED`."""
    for pattern in UNUSED:
        for path in sorted(site_packages.glob(pattern), reverse=True):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()


if __name__ == "__main__":
    (packages,) = Path(sys.argv[1]).glob("lib/python*/site-packages")
    trim(packages)
    # Hash-based, unchecked: the bytecode does not depend on when the image was built.
    compileall.compile_dir(packages, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
