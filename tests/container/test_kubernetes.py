"""The manifests for Kubernetes as far as one machine can try them: the Deployment, and the steps of the batch job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.container.client import MODEL, PREDICT, ask, free_port, wait_until_ready
from tests.container.conftest import Finding
from tests.container.engine import GRACE_SECONDS, ROOT, Container, Engine
from tests.container.pictures import smooth_jpeg
from tests.deploy.manifests import render

pytestmark = pytest.mark.container

SHARDS = 3
IMAGES = 240
LABELS = ("cat", "dog", "ship")


def test_the_deployment_serves_under_podman(engine: Engine, image: str, tmp_path: Path, finding: Finding) -> None:
    """One replica with a port of the host, because replicas on one machine cannot share a port."""
    if engine.name != "podman":
        pytest.skip("`kube play` is podman's")
    port = free_port()
    rendered = render(ROOT / "deploy/kubernetes/overlays/cpu")
    (deployment,) = [document for document in rendered if document["kind"] == "Deployment"]
    deployment["spec"]["replicas"] = 1
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container |= {"image": image, "imagePullPolicy": "Never"}
    container["ports"][0]["hostPort"] = port
    manifest = tmp_path / "deployment.yaml"
    manifest.write_text(yaml.safe_dump(deployment))
    try:
        engine.read("kube", "play", str(manifest))
        seconds = wait_until_ready(port)
        status = ask(port, "POST", PREDICT, smooth_jpeg(32, 32)).status
    finally:
        engine.read("kube", "down", str(manifest), timeout=GRACE_SECONDS + 60)
    finding(
        "the Deployment of overlays/cpu by `podman kube play` and `kube down` (one replica, a host port)",
        found=f"ready after {seconds:.1f} s, /predict {status}",
        wanted="/predict 200",
    )
    assert status == 200


@dataclass(frozen=True)
class BatchJob:
    """The steps of deploy/kubernetes/batch in containers that share a volume for their reports."""

    engine: Engine
    image: str
    folder: Path
    statuses: list[int] = field(default_factory=list)

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    def prepare(self) -> None:
        for label in LABELS:
            (self.folder / "images" / label).mkdir(parents=True)
        for number in range(IMAGES):
            name = f"{LABELS[number % len(LABELS)]}/{number:04d}.jpg"
            (self.folder / "images" / name).write_bytes(smooth_jpeg(48, 48, seed=number))
        self.reports.mkdir()
        self.reports.chmod(0o777)  # the container's user is 10001
        for parent in (self.folder, *self.folder.parents[:2]):
            parent.chmod(0o755)

    def start(self, arguments: Sequence[str], *options: str) -> AbstractContextManager[Container]:
        volumes = {
            self.folder / "images": "/images:ro",
            self.reports: "/reports",
            ROOT / "deploy/kubernetes/batch": "/steps:ro",
        }
        settings = [f"SHARDS={SHARDS}", f"BUNDLE=/bundles/{MODEL}", "IMAGES=/images", "REPORTS=/reports"]
        flags = [f"--volume={outside}:{inside}" for outside, inside in volumes.items()]
        flags += [f"--env={setting}" for setting in settings]
        return self.engine.container(self.image, [*flags, *options], arguments)

    def start_step(self, step: str, shard: int = 0, pod: str = "second") -> AbstractContextManager[Container]:
        return self.start([f"/steps/{step}"], f"--env=SHARD_INDEX={shard}", f"--env=POD={pod}", "--entrypoint=python")

    def finish(self, started: AbstractContextManager[Container]) -> None:
        with started as container:
            self.statuses.append(container.wait(300))

    def kill_in_the_middle(self, shard: int) -> int:
        """Kill a pod while it writes its report; return the lines (with the header) that it had written."""
        with self.start_step("shard.py", shard, pod="first") as container:
            lines = 0
            until = time.monotonic() + 120
            while lines < 2 and time.monotonic() < until:
                lines = sum(len(path.read_bytes().splitlines()) for path in self.reports.glob("attempt-first-*.csv"))
                time.sleep(0.01)
            self.engine.read("kill", container.identity)
        assert not list(self.reports.glob("shard-*.csv")), "the shard had finished before it was killed"
        return lines


def test_a_batch_with_a_killed_pod_gives_the_report_of_one_run(
    engine: Engine, image: str, tmp_path: Path, finding: Finding
) -> None:
    job = BatchJob(engine, image, tmp_path)
    job.prepare()
    killed_after = job.kill_in_the_middle(shard=1)
    for shard in range(SHARDS):
        job.finish(job.start_step("shard.py", shard))
    job.finish(job.start_step("merge.py"))
    job.finish(job.start(["diagnose", f"--bundle=/bundles/{MODEL}", "--data=/images", "--out=/reports/whole.csv"]))
    merged, whole = images_of(job.reports / "report.csv"), images_of(job.reports / "whole.csv")
    page = (job.reports / "report.html").exists()
    finding(
        f"batch scoring: {IMAGES} images in {SHARDS} shards, one killed and done again, merged",
        found=f"killed after {killed_after} lines; exits {job.statuses}; {len(merged)} rows merged, "
        f"page {'written' if page else 'missing'}",
        wanted=f"exits 0, {IMAGES} rows, the images of one run of all",
    )
    assert killed_after > 0
    assert not any(job.statuses)
    assert len(merged) == IMAGES
    assert merged == whole
    assert page


def images_of(table: Path) -> list[str]:
    """Return the first column of each row, in order: the image. A table that is missing has none."""
    if not table.exists():
        return []
    return [line.split(",", 1)[0] for line in table.read_text(encoding="utf-8").splitlines()[1:]]
