"""One pod of the Indexed Job: diagnose a shard, and publish its report only once it is whole.

Kubernetes may start an index again, and for a moment even run it twice. Each attempt writes to a table of its
own; the finished one takes the shard's name in one step, so the last to finish is counted, and only once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def main() -> int:
    shard, shards = int(os.environ["SHARD_INDEX"]) + 1, int(os.environ["SHARDS"])
    reports = Path(os.environ["REPORTS"])
    finished = reports / f"shard-{shard}-of-{shards}.csv"
    attempt = reports / f"attempt-{os.environ['POD']}-shard-{shard}.csv"
    command = [sys.executable, "-m", "service", "diagnose", "--bundle", os.environ["BUNDLE"], "--data"]
    command += [os.environ["IMAGES"], "--shard", f"{shard}/{shards}", "--out", str(attempt)]
    status = subprocess.run(command, check=False).returncode
    if status == 0:
        attempt.replace(finished)
    return status


if __name__ == "__main__":
    sys.exit(main())
