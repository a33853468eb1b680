"""The steps of deploy/kubernetes/batch in real containers, one of them killed and done again."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from deploy.check.client import jpeg
from deploy.check.engine import Container, Engine
from deploy.check.trial import Trial

SHARDS = 3
IMAGES = 240
LABELS = ("cat", "dog", "ship")


def trial_batch(engine: Engine, image: str, root: Path, model: str) -> list[Trial]:
    """Three shards, the second killed in the middle and done by another pod; merged, compared with one run."""
    with tempfile.TemporaryDirectory() as folder:
        images, reports = Path(folder) / "images", Path(folder) / "reports"
        _photographs(images)
        reports.mkdir()
        reports.chmod(0o777)  # the container's user is 10001
        Path(folder).chmod(0o755)
        steps = root / "deploy/kubernetes/batch"
        volumes = [f"--volume={images}:/images:ro", f"--volume={reports}:/reports", f"--volume={steps}:/steps:ro"]
        settings = [f"SHARDS={SHARDS}", f"BUNDLE=/bundles/{model}", "IMAGES=/images", "REPORTS=/reports"]
        options = [*volumes, *(f"--env={setting}" for setting in settings)]
        killed_rows = _kill_in_the_middle(engine, image, options, reports, shard=1)
        statuses = [_step(engine, image, options, "shard.py", index) for index in range(SHARDS)]
        statuses.append(_step(engine, image, options, "merge.py", 0))
        arguments = ["diagnose", f"--bundle=/bundles/{model}", "--data=/images", "--out=/reports/whole.csv"]
        statuses.append(_finished(engine, image, options, arguments))
        merged, whole = reports / "report.csv", reports / "whole.csv"
        same = merged.exists() and whole.exists() and _paths(merged) == _paths(whole)
        rows = len(_paths(merged)) if merged.exists() else 0
        page = (reports / "report.html").exists()
    page_found = "written" if page else "missing"
    found = f"killed after {killed_rows} lines; exits {statuses}; {rows} rows merged, page {page_found}"
    return [
        Trial(
            f"batch scoring: {IMAGES} images in {SHARDS} shards, one killed and done again, merged",
            found,
            f"exits 0, {IMAGES} rows, the images of one run of all",
            same and page and rows == IMAGES and not any(statuses) and killed_rows > 0,
        )
    ]


def _photographs(folder: Path) -> None:
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    for number in range(IMAGES):
        name = f"{LABELS[number % len(LABELS)]}/{number:04d}.jpg"
        (folder / name).write_bytes(jpeg(48, 48, seed=number))


def _kill_in_the_middle(engine: Engine, image: str, options: Sequence[str], reports: Path, shard: int) -> int:
    """Rows (and header) that a pod had written when it was killed, before it could finish."""
    with _started(engine, image, options, "shard.py", shard, pod="first") as container:
        rows = 0
        until = time.monotonic() + 120
        while rows < 2 and time.monotonic() < until:
            rows = sum(len(path.read_bytes().splitlines()) for path in reports.glob("attempt-first-*.csv"))
            time.sleep(0.01)
        engine.read("kill", container.identity)
    assert not list(reports.glob("shard-*.csv")), "the shard had finished before it was killed"
    return rows


def _step(engine: Engine, image: str, options: Sequence[str], step: str, shard: int) -> int:
    with _started(engine, image, options, step, shard, pod="second") as container:
        return container.wait(300)


def _started(
    engine: Engine, image: str, options: Sequence[str], step: str, shard: int, pod: str
) -> AbstractContextManager[Container]:
    own = [f"--env=SHARD_INDEX={shard}", f"--env=POD={pod}", "--entrypoint=python"]
    return engine.container(image, [*options, *own], [f"/steps/{step}"])


def _finished(engine: Engine, image: str, options: Sequence[str], arguments: Sequence[str]) -> int:
    with engine.container(image, options, arguments) as container:
        return container.wait(300)


def _paths(table: Path) -> list[str]:
    """The first column of each row, in order: the image."""
    return [line.split(",", 1)[0] for line in table.read_text(encoding="utf-8").splitlines()[1:]]
