"""Any model, one command: the wheel in an empty environment checks and serves a model of each kind.

The answers are those of the producer's own pipeline. Packages come from a registry, at the versions that the project
pins.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.contraflow.strangers import KINDS, Stranger
from tests.contraflow.wheel import ROOT, Installation, built, empty
from tests.service.live_server import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.slow

PHOTOGRAPHS = [ROOT / "tests" / "photographs" / name for name in ("cat-640x480.jpg", "dog.jpg", "frog.png")]
ROUNDING = 1e-5
RESIZED_OTHERWISE = {"paddle": 1e-3}
"""OpenCV's resize works with fixed-point numbers, and differs from ours by up to one level."""
SAYING_IT_ALL = ("hugging_face", "optimum", "timm_folder", "ultralytics", "paddle", "custom_vision", "onnx_metadata")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    installation = empty(tmp_path_factory.mktemp("empty"))
    installation.install(f"{built(tmp_path_factory.mktemp('wheel'))}[cpu,export]")
    return installation


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stranger]:
    folder = tmp_path_factory.mktemp("strangers")
    return {name: make(folder / name) for name, make in KINDS.items()}


@contextmanager
def served(installation: Installation, *words: str | Path) -> Iterator[httpx.Client]:
    """Run `contraflow serve` on these arguments, and stop it."""
    cache = installation.folder / "cache"
    command = installation.command("serve", *words, "--http-port", "0", "--drain-delay", "0", "--cache", cache)
    with subprocess.Popen(
        command, cwd=installation.folder, env=installation.variables(), stderr=subprocess.PIPE, text=True
    ) as serving:
        assert serving.stderr is not None
        said: list[str] = []
        try:
            for line in serving.stderr:
                said.append(line)
                if found := re.search(r"address: (http://\S+)", line):
                    break
            else:
                raise AssertionError("".join(said))
            with httpx.Client(base_url=found[1], timeout=PATIENCE_SECONDS) as client:
                wait_until(lambda: client.get("/health/ready").status_code == 200, 180)  # a busy machine imports on
                yield client
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.stderr.read()
    assert serving.returncode == 0


def answers_as_its_producer(client: httpx.Client, name: str, stranger: Stranger) -> None:
    """Compare /predict with the reference pipeline, picture by picture, and see that pictures are told apart."""
    model = stranger.path.stem
    references = []
    for photograph in PHOTOGRAPHS:
        answer = client.post("/predict", params={"model": model, "top_k": 4}, content=photograph.read_bytes())
        assert answer.status_code == 200, answer.text
        ours = {entry["label"]: entry["probability"] for entry in answer.json()["predictions"][0]["labels"]}
        with Image.open(photograph) as picture:
            references.append(stranger.probabilities(picture.convert("RGB")))
        assert ours == pytest.approx(references[-1], abs=RESIZED_OTHERWISE.get(name, ROUNDING)), photograph.name
    assert max(abs(references[0][label] - references[1][label]) for label in references[0]) > 100 * ROUNDING


def explains(client: httpx.Client, stranger: Stranger) -> None:
    """Ask for the gradients of one picture."""
    params = {"model": stranger.path.stem, "label": stranger.labels[0]}
    answer = client.post("/diagnostics/gradients", params=params, content=PHOTOGRAPHS[0].read_bytes())
    assert answer.status_code == 200, answer.text
    assert all(layer["weight_gradient_norm"][0] > 0 for layer in answer.json()["layers"])


@pytest.mark.parametrize("name", KINDS)
def test_it_is_checked(installation: Installation, strangers: dict[str, Stranger], name: str) -> None:
    stranger = strangers[name]
    words: Sequence[str | Path] = ("check", stranger.path, *stranger.flags, "--images", "16")
    done = installation.run(installation.command(*words))
    assert done.returncode in (0, 1), done.stderr
    assert re.match(rf"{stranger.path.stem}@\d: \w+\. ", done.stdout), done.stderr
    assert "Looked at: 16 pictures made for this check" in done.stdout
    assert "not looked for" not in done.stdout


def test_all_that_say_everything_are_served_by_one_command(
    installation: Installation, strangers: dict[str, Stranger]
) -> None:
    with served(installation, *(strangers[name].path for name in SAYING_IT_ALL)) as client:
        for name in SAYING_IT_ALL:
            answers_as_its_producer(client, name, strangers[name])
            explains(client, strangers[name])


@pytest.mark.parametrize("name", [name for name in KINDS if name not in SAYING_IT_ALL])
def test_flags_say_what_the_others_leave_out(
    installation: Installation, strangers: dict[str, Stranger], name: str
) -> None:
    stranger = strangers[name]
    with served(installation, stranger.path, *stranger.flags) as client:
        answers_as_its_producer(client, name, stranger)
        explains(client, stranger)
