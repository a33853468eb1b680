"""The last step of the batch job: wait for every shard's report, then merge them into one, with its page."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    shards, reports = int(os.environ["SHARDS"]), Path(os.environ["REPORTS"])
    parts = [reports / f"shard-{shard}-of-{shards}.csv" for shard in range(1, shards + 1)]
    while missing := [part.name for part in parts if not part.exists()]:
        print("waiting for", *missing, flush=True)
        time.sleep(float(os.environ.get("POLL_SECONDS", "10")))
    command = [sys.executable, "-m", "service", "diagnose", "--bundle", os.environ["BUNDLE"], "--data"]
    command += [os.environ["IMAGES"], "--out", str(reports / "report.html"), "--merge", *map(str, parts)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
