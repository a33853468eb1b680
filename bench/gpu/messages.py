"""The words and deeds of the service in every state that a card can be in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench.gpu.part import Part, Row, Setting, attempt
from bench.gpu.starts.cases import cases
from bench.gpu.starts.shortage import CROWDED, KEYS, LIMITED, crowded, limited
from bench.harness.page import table

NET = "resnet20"
AT_A_TIME = 5
"""Starts at a time, where there are cores for them: each waits for the driver most of the time."""
FEWEST = ("auto", "cuda", "cpu")
"""Starts of which one ends on a card or with a warning, one on a card or with a refusal, and one on the CPU."""
NO_CARD = "no card"


def measure(setting: Setting) -> Iterator[Row]:
    """Yield a row for each start: command, environment, what was found, what is expected, and whether it is so."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        bundles = scratch / "bundles"
        bundles.mkdir()
        (bundles / NET).symlink_to((setting.bundles / NET).absolute())
        yield from _starts(setting, bundles, scratch)
        if setting.device == "cpu":
            for key in KEYS:
                yield from attempt(setting, key, lambda: {"found": NO_CARD, "kept": None})
            return
        yield from attempt(setting, LIMITED, partial(limited, bundles))
        for key in CROWDED:
            yield from attempt(setting, key, partial(crowded, bundles, key))


def _starts(setting: Setting, bundles: Path, scratch: Path) -> Iterator[Row]:
    wanted = [case for case in cases(setting.device == "cuda", scratch) if not setting.small or case.key in FEWEST]
    missing = [case for case in wanted if case.key not in setting.done]
    pool = ThreadPoolExecutor(min(AT_A_TIME, len(os.sched_getaffinity(0))))
    try:
        waiting = [(case.key, pool.submit(case.row, bundles)) for case in missing]
        for key, row in waiting:
            yield from attempt(setting, key, row.result)
    finally:
        pool.shutdown(cancel_futures=True)


def section(rows: Sequence[Row]) -> str:
    """Return the table of what was said."""
    return table("as expected | command | environment | found | expected", [_line(row) for row in rows])


def _line(row: Row) -> str:
    kept = {True: "yes", False: "**no**", None: ""}[row["kept"]]
    command = f"`{row['command']}`" if "command" in row else ""
    environment = row.get("environment") or ("" if command else row["key"])
    return " | ".join([kept, command, environment, row["found"], row.get("expected", "")])


PART = Part("messages", measure, section)
