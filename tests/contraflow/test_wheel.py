"""The wheel, installed outside the repository: it carries every package, and one command does everything."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import zipfile
from pathlib import Path

import httpx
import pytest

from service import __version__
from tests.contraflow.wheel import PACKAGES, ROOT, Installation, built, empty, installed_beside
from tests.export.importing.graphs import classifier, saved
from tests.picture_files import write_labelled_noise
from tests.service.live_server import PATIENCE_SECONDS, wait_until

BUNDLE = ROOT / "models" / "bundles" / "resnet20"
LABELS = ("ant", "bee", "cat", "dog")
TRAINING_ONLY = ("torch", "onnxscript", "safetensors", "tqdm", "matplotlib")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return installed_beside(wheel, tmp_path_factory.mktemp("installation"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ONNX file, its labels, and labelled images of its size."""
    folder = tmp_path_factory.mktemp("stranger")
    saved(classifier(), folder)
    (folder / "labels.txt").write_text("\n".join(LABELS))
    write_labelled_noise(folder / "data", LABELS, per_label=4)
    return folder


def import_flags(stranger: Path, out: Path) -> list[str | Path]:
    """Return the arguments of an import of the file into `out`."""
    said: list[str | Path] = ["--labels", stranger / "labels.txt", "--mean", "0.5", "--std", "0.25"]
    return [stranger / "model.onnx", "--name", "mynet", *said, "--out", out]


def test_it_carries_the_packages_the_page_and_the_guide_but_no_bundle_and_no_run(wheel: Path) -> None:
    def files(package: str, pattern: str) -> set[str]:
        return {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob(pattern) if path.is_file()}

    code = set[str]().union(*(files(package, "*.py") for package in PACKAGES))
    named = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    guide = {name for name in named if name.startswith("service/guide/")}
    assert {"service/guide/index.html", "service/guide/guide/quickstart.html", "service/guide/search.json"} <= guide
    assert named - guide == code | files("service/static", "*") | files("service/http/documentation", "*.json")


def test_its_version_is_that_of_the_service(wheel: Path, installation: Installation) -> None:
    assert wheel.name == f"contraflow-{__version__}-py3-none-any.whl"
    for word in ("--version", "version"):
        assert installation.run(installation.command(word)).stdout == f"contraflow {__version__}\n"


@pytest.mark.parametrize("module", PACKAGES)
def test_each_package_runs_as_a_module_too(installation: Installation, module: str) -> None:
    assert installation.run(installation.module(module, "--help")).stdout.startswith(f"usage: python -m {module} ")


def test_nothing_of_it_comes_from_the_repository(installation: Installation) -> None:
    names = ", ".join(PACKAGES)
    code = f"import {names}; print(*(module.__file__ for module in ({names})))"
    done = installation.run([installation.module()[0], "-c", code])
    assert all(Path(path).is_relative_to(installation.environment) for path in done.stdout.split()), done.stdout


def test_check_needs_neither_torch_nor_onnx(installation: Installation) -> None:
    """It makes its pictures itself."""
    command = installation.command("check", BUNDLE)
    done = installation.run(command, absent=[*TRAINING_ONLY, "onnx"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{BUNDLE.name}@1: healthy. ")
    assert "Looked at: 64 pictures made for this check" in done.stdout


def test_a_stranger_s_file_is_imported_verified_recorded_and_diagnosed_without_torch(
    installation: Installation, stranger: Path, tmp_path: Path
) -> None:
    def said(*words: str | Path) -> str:
        done = installation.run(installation.command(*words), absent=TRAINING_ONLY)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    bundle = tmp_path / "mynet"
    assert "mynet: 4 classes, 2 layers" in said("import", *import_flags(stranger, tmp_path))
    assert said("verify", bundle).startswith("ok")
    assert "recorded" in said("record", bundle, "--data", stranger / "data")
    assert json.loads((bundle / "bundle.json").read_text())["baseline"]["images"] == 16
    table = tmp_path / "report.csv"
    done = installation.run(
        installation.command("diagnose", "--bundle", bundle, "--data", stranger / "data/test", "--out", table),
        absent=TRAINING_ONLY,
    )
    assert done.returncode == 0
    assert len(table.read_text().splitlines()) == 1 + 16


def test_a_bare_file_is_checked(installation: Installation, stranger: Path, tmp_path: Path) -> None:
    """The import runs in a process of its own, from the wheel too."""
    flags: list[str | Path] = ["--labels", stranger / "labels.txt", "--mean", "0.5", "--std", "0.25"]
    command = installation.command("check", stranger / "model.onnx", *flags, "--data", stranger / "data/test")
    environment = {**installation.variables(), "CONTRAFLOW_CACHE": str(tmp_path), "ABSENT": " ".join(TRAINING_ONLY)}
    done = subprocess.run(command, cwd=installation.folder, env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    assert re.match(r"\S+@1: \w+\. ", done.stdout), done.stderr
    assert f"Looked at: 16 images of {stranger / 'data/test'}.\n" in done.stdout


@pytest.mark.parametrize(
    ("words", "absent", "advice"),
    [
        ("serve --bundles .", "onnxruntime", "onnxruntime is not installed: pip install 'contraflow[cpu]'"),
        ("check .", "onnxruntime", "onnxruntime is not installed: pip install 'contraflow[cpu]'"),
        ("diagnose --bundle b --data d --out o.csv", "onnxruntime", "pip install 'contraflow[cpu]'"),
        ("import model.onnx", "onnx", "onnx is not installed: pip install 'contraflow[export]'"),
        ("record b --data d", "onnx", "onnx is not installed: pip install 'contraflow[export]'"),
        ("verify b", "onnx", "onnx is not installed: pip install 'contraflow[export]'"),
        ("record b --data d", "onnxruntime", "onnxruntime is not installed: pip install 'contraflow[cpu]'"),
        ("verify b", "onnxruntime", "onnxruntime is not installed: pip install 'contraflow[cpu]'"),
        (
            "import model.onnx",
            "onnx onnxruntime",
            "onnx and onnxruntime are not installed: pip install 'contraflow[export,cpu]'",
        ),
        ("train --model resnet8 --data d", "torch", "torch is not installed: pip install 'contraflow[train]'"),
        ("verify b --run r", "torch", "torch is not installed: pip install 'contraflow[train]'"),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_command_that_brings_it(
    installation: Installation, words: str, absent: str, advice: str
) -> None:
    done = installation.run(installation.command(*words.split()), absent.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"error: .*{re.escape(advice)}\n", done.stderr), done.stderr


def test_it_imports_only_with_a_runtime_to_try_the_graphs_on(
    installation: Installation, stranger: Path, tmp_path: Path
) -> None:
    done = installation.run(installation.command("import", *import_flags(stranger, tmp_path)), ["onnxruntime"])
    assert done.returncode == 2
    assert done.stderr.endswith("onnxruntime is not installed: pip install 'contraflow[cpu]'\n")
    assert list(tmp_path.iterdir()) == []


def test_it_serves_the_page_its_samples_and_its_version(installation: Installation) -> None:
    command = installation.command("serve", "--bundles", BUNDLE.parent, "--http-port", "0", "--drain-delay", "0")
    variables = installation.variables()
    with subprocess.Popen(
        command, cwd=installation.folder, env=variables, stderr=subprocess.PIPE, text=True
    ) as serving:
        assert serving.stderr is not None
        address = next(found[1] for line in serving.stderr if (found := re.search(r"address: (http://\S+)", line)))
        try:
            with httpx.Client(base_url=address, timeout=PATIENCE_SECONDS) as client:
                wait_until(lambda: client.get("/health/ready").status_code == 200)
                assert client.get("/v2").json()["version"] == __version__
                page = client.get("/").text
                for path in [*re.findall(r'(?:src|href)="(/static/[^"]+)"', page), "/static/samples/ship.jpg"]:
                    assert client.get(path).status_code == 200, path
                ship = client.get("/static/samples/ship.jpg").content
                answer = client.post("/predict", params={"model": "resnet20"}, content=ship).json()
                assert answer["predictions"][0]["labels"][0]["label"] == "ship"
        finally:
            serving.send_signal(signal.SIGTERM)
            serving.stderr.read()
    assert serving.returncode == 0


@pytest.mark.slow
def test_in_an_empty_environment_the_extras_are_all_it_needs(
    wheel: Path, stranger: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bare = empty(tmp_path_factory.mktemp("empty"))
    elsewhere = bare.folder

    bare.install(str(wheel))
    assert bare.run(bare.command("--help")).returncode == 0
    refused = bare.run(bare.command("check", BUNDLE))
    assert refused.stderr == "error: onnxruntime is not installed: pip install 'contraflow[cpu]'\n"
    refused = bare.run(bare.command("import", *import_flags(stranger, elsewhere)))
    assert refused.stderr == "error: onnx and onnxruntime are not installed: pip install 'contraflow[export,cpu]'\n"
    refused = bare.run(bare.command("train", "--model", "resnet8", "--data", "d"))
    assert refused.stderr == "error: torch is not installed: pip install 'contraflow[train]'\n"

    bare.install(f"{wheel}[cpu]")
    assert bare.run(bare.command("check", BUNDLE)).returncode == 0

    bare.install(f"{wheel}[cpu,export]")
    assert "4 classes" in bare.run(bare.command("import", *import_flags(stranger, elsewhere))).stdout
    assert bare.run(bare.command("verify", elsewhere / "mynet")).stdout.startswith("ok")
    assert "recorded" in bare.run(bare.command("record", elsewhere / "mynet", "--data", stranger / "data")).stdout
    done = bare.run(bare.command("check", elsewhere / "mynet", "--data", stranger / "data"))
    assert done.stdout.startswith("mynet@"), done.stderr
