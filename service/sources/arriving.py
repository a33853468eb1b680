"""Waits for a model that another container brings while the service starts, as KServe's modelcar does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

INIT_MODE: Final = "MODEL_INIT_MODE"
"""Variable that KServe sets to `async` where the model may come after the start."""
LONGEST_WAIT: Final = 60.0
LOOK_AGAIN: Final = 0.1


def wait_for_models(paths: Sequence[Path], environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Return when there is something at every path, or after `LONGEST_WAIT` seconds; at once unless KServe asks for it.

    Whatever else keeps a path from being looked at is reported by whoever opens it.
    """
    if environment.get(INIT_MODE) != "async":
        return
    end = time.monotonic() + LONGEST_WAIT
    is_said = False
    while (missing := [path for path in paths if _is_missing(path)]) and time.monotonic() < end:
        if not is_said:
            say(f"waiting for {', '.join(map(str, missing))}, because of {INIT_MODE}=async")
            is_said = True
        time.sleep(LOOK_AGAIN)


def _is_missing(path: Path) -> bool:
    try:
        os.stat(path)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return False
