"""An imported network needs no torch: it can be imported, recorded, verified and evaluated without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.contract.bundle_schema import Bundle
from tests.export.importing.graphs import classifier, saved
from tests.picture_files import write_labelled_noise

ROOT = Path(__file__).parents[2]
LABELS = ("ant", "bee", "cat", "dog")
TRAINING_ONLY = ("torch", "torchvision", "onnxscript", "safetensors", "tqdm", "matplotlib", "scipy")
"""The packages that `pip install '.[cpu,export]'` leaves out."""
BLOCKED = f"""
import runpy, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {TRAINING_ONLY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
sys.argv[0] = "export"
runpy.run_module("export", run_name="__main__")
"""


def export(*words: str | Path) -> str:
    """Return the output of `python -m export …` in a Python without torch."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Import a bundle without torch, and write images of the network's own size."""
    folder = tmp_path_factory.mktemp("without_torch")
    (folder / "labels.txt").write_text("\n".join(LABELS))
    write_labelled_noise(folder / "data", LABELS, per_label=5)
    flags = ["--mean", "0.5", "--std", "0.25", "--labels", str(folder / "labels.txt")]
    export("onnx", saved(classifier(), folder), "--name", "stranger", "--out", folder / "bundles", *flags)
    return folder


def test_record(folder: Path) -> None:
    assert "recorded" in export("record", folder / "bundles/stranger", "--data", folder / "data")
    bundle = Bundle.model_validate_json((folder / "bundles/stranger/bundle.json").read_text())
    assert bundle.baseline is not None
    assert bundle.baseline.images == 20
    assert bundle.separability is not None
    assert bundle.separability.nearest_mean.keys() == {"conv", "head"}


def test_verify(folder: Path) -> None:
    lines = export("verify", folder / "bundles/stranger").splitlines()
    assert len(lines) == 3
    assert all(line.startswith("ok") for line in lines)


def test_evaluate(folder: Path) -> None:
    assert "over 20 images" in export("evaluate", "--bundle", folder / "bundles/stranger", "--data", folder / "data")


def test_list(folder: Path) -> None:
    assert "`stranger`" in export("list", "--bundles", folder / "bundles")


@pytest.mark.parametrize("verb", ["", "record", "rewrite"])
def test_help(verb: str) -> None:
    assert "usage:" in export(*filter(None, [verb]), "--help")
