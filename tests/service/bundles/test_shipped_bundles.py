"""The bundles in the repository, on real photographs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.live_server import best_label, running

ROOT = Path(__file__).parents[3]
BUNDLES = ROOT / "models" / "bundles"
PHOTOGRAPHS = ROOT / "tests" / "photographs"

pytestmark = pytest.mark.skipif(not (BUNDLES / "resnet20").exists(), reason="no trained bundles in this checkout")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with running(BUNDLES, default_model="resnet20", warm_up=False) as server, server.client() as client:
        yield client


def test_every_shipped_bundle_is_served_and_none_is_refused(client: httpx.Client) -> None:
    listing = client.get("/models").json()
    folders = {path.name for path in BUNDLES.iterdir() if (path / "bundle.json").exists()}
    assert {model["name"] for model in listing["models"] if model["ready"]} == folders
    assert listing["refused"] == {}
    assert listing["default"] == "resnet20"


def test_a_model_is_described_with_its_records_as_they_were_written(client: httpx.Client) -> None:
    written = json.loads((BUNDLES / "resnet20" / "bundle.json").read_text())
    described = client.get("/models/resnet20").json()
    for field in ("training", "parity", "baseline", "separability", "layers", "labels", "notes"):
        assert described[field] == written[field], field


@pytest.mark.parametrize("label", ["frog", "ship", "truck", "horse", "dog"])
def test_a_photograph_gets_its_label_by_curls_plain_body(client: httpx.Client, label: str) -> None:
    photograph = (PHOTOGRAPHS / f"{label}.jpg").read_bytes()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert best_label(client.post("/predict", content=photograph, headers=headers)) == label


def test_a_photograph_answers_the_same_alone_and_in_a_batch_to_float_precision(client: httpx.Client) -> None:
    photographs = [path.read_bytes() for path in sorted(PHOTOGRAPHS.glob("*2.jpg"))]
    together = client.post("/predict", files=[("images", data) for data in photographs]).json()["predictions"]
    for data, among_others in zip(photographs, together, strict=True):
        alone = client.post("/predict", content=data).json()["predictions"][0]
        for one, other in zip(alone["labels"], among_others["labels"], strict=True):
            assert one["index"] == other["index"]
            assert one["probability"] == pytest.approx(other["probability"], rel=1e-4, abs=1e-7)


def test_a_model_page_has_its_training_curves_and_its_parity(client: httpx.Client) -> None:
    model = client.get("/models/resnet20").json()
    assert len(model["layers"]) == 20
    assert len(model["training"]["epochs"]) >= 8
    assert model["training"]["final"]["test_error"] < 0.2
    assert all(check["difference"] <= check["bound"] for check in model["parity"])


def test_a_bundle_that_is_served_on_never_takes_graphs_or_statistics_from_the_files_of_the_next(tmp_path: Path) -> None:
    served = tmp_path / "bundles" / "resnet20"
    shutil.copytree(BUNDLES / "resnet20", served)
    photograph = (PHOTOGRAPHS / "cat.jpg").read_bytes()
    with running(tmp_path / "bundles", warm_up=False) as server, server.client() as client:
        before = client.post("/predict", content=photograph).json()["predictions"]
        for file in BUNDLES.joinpath("plain20").iterdir():
            shutil.copyfile(file, served / f".{file.name}")
            (served / f".{file.name}").replace(served / file.name)
        server.state.loader.refresh()
        assert "plain20" in client.get("/models").json()["refused"]["resnet20"]
        assert client.post("/predict", content=photograph).json()["predictions"] == before
        for path in ("/diagnostics/gradients", "/diagnostics/scores"):
            refused = client.post(path, content=photograph)
            assert refused.status_code == 503
            assert "Retry-After" in refused.headers
        shutil.copytree(BUNDLES / "resnet20", served, dirs_exist_ok=True)
        server.state.loader.refresh()
        for path in ("/diagnostics/gradients", "/diagnostics/scores"):
            assert client.post(path, content=photograph).status_code == 200
