"""Every command that the Makefile, the README or a page names runs in its smallest form, with options that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from bench.harness.paths import DOCS, PHOTOGRAPHS, ROOT, SHIPPED

NAMING = (ROOT / "Makefile", ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
COMMAND = re.compile(r"python -m ((?:bench|export|models|tests\.soak)[.\w]*)((?:[^`\n\\>]|\\\n)*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
WITH_VERBS = ("export", "models")


@dataclass(frozen=True)
class Run:
    """Arguments of the smallest run; {data}, {docs}, {bundle} and {scratch} are folders of the test's own."""

    arguments: str
    slow: bool = False


RESNET20 = SHIPPED / "resnet20"
SMALLEST = {
    "bench.flips": Run(
        "--data {data} --images 20 --population 20 --draws 10 --seeds 1 --networks 1 --page {docs}/reports/versions.md",
        slow=True,
    ),
    "bench.explanations": Run(
        "--data {data} --names resnet20 --images 4 --masks 20 --page {docs}/reports/explanations.md", slow=True
    ),
    "bench.changed_layers": Run(
        "--data {data} --images 4 --nets 1 --names resnet20 --page {docs}/reports/changed-layers.md", slow=True
    ),
    "bench.explanation": Run("--seconds 0.1 --only resnet20 --batches 1 --page {docs}/reports/gradients.md"),
    "bench.gradients": Run("--seconds 0.1 --only resnet20 --batches 8 --page {docs}/reports/gradients.md", slow=True),
    "bench.gpu": Run("--small --parts graphs --seconds 1 --out {scratch}/gpu --page {docs}/reports/gpu.md", slow=True),
    "bench.guide": Run("--page {docs}/reference/verdicts.md --glossary {docs}/guide/glossary.md"),
    "bench.reference": Run("--docs {docs}"),
    "bench.promises": Run("--quick --only 5 9 --page {docs}/reports/promises.md", slow=True),
    "bench.scaling": Run("--seconds 0.5 --page {docs}/reports/scaling.md", slow=True),
    "bench.scores": Run(
        "--names resnet20 --images 20 --train-images 60 --data {data} --page {docs}/reports/scores.md",
    ),
    "bench.serving": Run(
        "--seconds 0.2 --subjects resnet20 --only Contraflow --page {docs}/reports/serving.md", slow=True
    ),
    "bench.serving.memory": Run(""),
    "bench.serving.records": Run("--seconds 0.2 --starts 1 --rounds 1 --page {docs}/reports/serving.md", slow=True),
    "bench.shadow": Run("--seconds 0.2 --rounds 1 --page {docs}/reports/shadow.md", slow=True),
    "bench.unlike": Run("--models resnet20 --page {docs}/reports/live-images.md"),
    "bench.verdict_depth": Run("--families plain --depths 8 --seeds 1 --page {docs}/reports/verdicts.md", slow=True),
    "bench.verdict_points": Run("--depths 8 --seeds 1 --page {docs}/reports/verdicts.md", slow=True),
    "bench.verdicts": Run(
        "--seeds 1 --deepest 8 --kinds 1 --data {data} --cache {scratch}/verdicts --page {docs}/reports/verdicts.md",
        slow=True,
    ),
    "bench.width": Run("--seconds 0.1 --only resnet20 --page {docs}/reports/serving.md", slow=True),
    "export bundle": Run("--run {scratch}/plain20 --data {data} --name tried --out {scratch}", slow=True),
    "export evaluate": Run("--bundle {bundle} --data {data}"),
    "export list": Run(""),
    "export phenomena": Run("--only identity --docs {docs}", slow=True),
    "export rewrite": Run("{bundle} --data {data}", slow=True),
    "export.coverage": Run("--only keras/ --cache {scratch} --out {docs}/reports/coverage.md", slow=True),
    "models deeper": Run("{scratch}/plain20 --docs {docs}", slow=True),
    "models phenomena": Run("--only exploding --docs {docs}", slow=True),
    "models recipes": Run(
        "--data {data} --model resnet8 --epochs 1 --seeds 1 --hold-out 4 --only alternate --out {scratch}/recipes "
        "--page {docs}/reports/training.md",
        slow=True,
    ),
    "models seeds": Run("--data {data} --docs {docs} --out {scratch} --seeds 1 --images 20 --epochs 1", slow=True),
    "models train": Run(
        "--model plain20 --data {data} --out {scratch}/plain20 --cautionary --epochs 1 --batch-size 8", slow=True
    ),
    "tests.soak": Run("--quick --requests 200 --page {docs}/reports/reliability.md", slow=True),
}

OF_A_RUN = ("export bundle", "models deeper")


def named() -> dict[str, set[str]]:
    """Return the options with which each command is named somewhere."""
    found: dict[str, set[str]] = {}
    for file in NAMING:
        for module, rest in COMMAND.findall(file.read_text(encoding="utf-8")):
            words = rest.split()
            command = f"{module} {words[0]}" if module in WITH_VERBS else module
            found.setdefault(command, set()).update(OPTION.findall(rest.split(";")[0]))
    return found


NAMED = named()


def start(command: str, arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", *command.split(), *arguments.split()]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900)


@cache
def help_of(command: str) -> str:
    done = start(command, "--help")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return copies of the pages and of a bundle, a data set of the test photographs, and an empty folder."""
    root: Path = tmp_path_factory.mktemp("commands")
    for split in ("train", "test"):
        for file in PHOTOGRAPHS.glob("*.jpg"):
            if match := re.fullmatch(r"([a-z]+)\d*\.jpg", file.name):
                for number in range(4):  # nearest neighbours need fifty training images
                    (root / "data" / split / match[1]).mkdir(parents=True, exist_ok=True)
                    shutil.copy(file, root / "data" / split / match[1] / f"{file.stem}-{number}.jpg")
    labels = sorted(folder.name for folder in (root / "data" / "train").iterdir())
    (root / "data" / "labels.txt").write_text("\n".join(labels), encoding="utf-8")
    shutil.copytree(DOCS, root / "docs")
    shutil.copytree(RESNET20, root / "bundles" / "resnet20")
    (root / "scratch").mkdir()
    return {name: root / name for name in ("data", "docs", "scratch")} | {"bundle": root / "bundles" / "resnet20"}


def test_every_command_that_is_named_has_a_smallest_run() -> None:
    assert set(NAMED) == set(SMALLEST)


@pytest.mark.parametrize("command", [name for name, options in sorted(NAMED.items()) if options])
def test_every_option_that_is_named_exists(command: str) -> None:
    known = set(OPTION.findall(help_of(command)))
    assert NAMED[command] <= known


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=[pytest.mark.slow] if run.slow else [])
        # A training run is made before what is made of it.
        for command, run in sorted(SMALLEST.items(), key=lambda item: (item[0] in OF_A_RUN, item[0]))
    ],
)
def test_the_smallest_run_ends_well(command: str, folders: dict[str, Path]) -> None:
    done = start(command, SMALLEST[command].arguments.format(**folders))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
