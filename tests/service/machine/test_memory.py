"""Settings of glibc's malloc take effect, in a process of its own."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PROGRAM = """
import ctypes
from service.machine.memory import bound_fragmentation

class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in "arena ordblks smblks hblks hblkhd a b c d e".split()]

bound_fragmentation()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes, libc.mallinfo.restype = ctypes.c_void_p, [ctypes.c_void_p], Mallinfo
libc.free(libc.malloc(8 * 2**20))  # from now on blocks of that size would come from an arena
before = libc.mallinfo().hblks
libc.malloc(4 * 2**20)
print(libc.mallinfo().hblks - before)
"""


@pytest.mark.skipif(os.name != "posix" or not hasattr(ctypes.CDLL(None), "mallinfo"), reason="not glibc")
@pytest.mark.parametrize(("variables", "mapped"), [({}, 1), ({"MALLOC_MMAP_THRESHOLD_": str(16 * 2**20)}, 0)])
def test_large_blocks_stay_mappings_of_their_own_unless_the_environment_says_otherwise(
    variables: dict[str, str], mapped: int
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env={**environment, **variables}, cwd=ROOT, capture_output=True, check=True)
    assert int(done.stdout) == mapped
