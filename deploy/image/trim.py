"""Remove the files of an environment that nobody reads, then compile the rest: `python trim.py /opt/contraflow`.

Each pattern is a folder or file below site-packages; a pattern that matches nothing is fine (the two
images hold different packages). Libraries lose what their loader does not read: symbols, above all.
"""

from __future__ import annotations

import compileall
import py_compile
import shutil
import struct
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
    "onnx/backend/test",  # 15 MB
    "onnx/**/*.cc",
    "onnx/**/*.h",
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
    """Delete everything that matches `UNUSED`, and shorten the libraries."""
    for pattern in UNUSED:
        for path in sorted(site_packages.glob(pattern), reverse=True):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()
    for library in site_packages.rglob("*.so"):
        cut_unloaded_end(library)


LEAST_CUT = 1_000_000
"""Bytes below which a library is left as it is."""


def cut_unloaded_end(library: Path) -> None:
    """Cut off what lies behind the last segment of a 64-bit ELF library, if it is much: symbols and section headers.

    The dynamic loader reads program headers and segments only. ml_dtypes is 25 MB with its symbols and 1.5 MB without.
    """
    content = bytearray(library.read_bytes())
    if content[:6] != b"\x7fELF\x02\x01":  # 64 bits, little-endian
        return
    (table,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    segments = (struct.unpack_from("<IIQQQQ", content, table + size * number) for number in range(count))
    end = max(offset + length for _, _, offset, _, _, length in segments)
    if len(content) - end < LEAST_CUT:
        return
    struct.pack_into("<Q", content, 40, 0)  # where the section headers are
    struct.pack_into("<HH", content, 60, 0, 0)  # their number, and which of them names the others
    library.write_bytes(content[:end])


if __name__ == "__main__":
    (packages,) = Path(sys.argv[1]).glob("lib/python*/site-packages")
    trim(packages)
    # Hash-based, unchecked: the bytecode does not depend on when the image was built.
    compileall.compile_dir(packages, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
