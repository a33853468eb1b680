"""Functions in processes of their own, so that the CPU time of each side of a measurement is its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from bench.harness.paths import ROOT

CALL = "import json, sys; from {module} import {name}; json.dump({name}(*json.loads(sys.argv[1])), sys.stdout)"


def call_apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a module's function in a new interpreter; its arguments and its result are what JSON can carry.

    Raises:
        subprocess.CalledProcessError: it failed; the traceback is on stderr.
    """
    code = CALL.format(module=function.__module__, name=function.__name__)
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    return json.loads(done.stdout)
