"""The Dockerfile and its companions, without an engine: the tests in tests/container build and run it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import pytest

from deploy.image.dependencies import requirements
from deploy.image.trim import cut_unloaded_end, trim
from service import __version__
from tests.programs import program

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def stage(name: str) -> str:
    """Return the lines of one stage, with continuation lines joined."""
    for text in re.split(r"^(?=FROM )", DOCKERFILE.replace("\\\n", " "), flags=re.MULTILINE):
        if re.match(rf"FROM \S+ AS {name}$", text.splitlines()[0]):
            return text
    raise AssertionError(f"no stage {name}")


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_what_runs_is_built_on_the_bare_base_without_the_installer(target: str) -> None:
    assert stage(target).startswith("FROM runtime ")
    assert stage("runtime").startswith("FROM ${PYTHON_IMAGE} ")
    assert "RUN" not in re.findall(r"^[A-Z]+", stage("runtime") + stage(target), re.MULTILINE)


def test_the_default_target_is_cpu() -> None:
    assert re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)[-1] == "cpu"


def test_it_does_not_run_as_root_and_says_so_by_number() -> None:
    """Kubernetes can check `runAsNonRoot` only for a numeric user."""
    (user,) = re.findall(r"^USER (\S+)$", stage("runtime"), re.MULTILINE)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_the_service_is_process_one_and_gets_its_signals() -> None:
    runtime = stage("runtime")
    assert 'ENTRYPOINT ["python", "-m", "contraflow"]\nCMD ["serve"]' in runtime
    assert "STOPSIGNAL SIGTERM" in runtime
    assert re.search(r"HEALTHCHECK .* CMD \[", runtime)


def test_each_image_asks_for_the_processor_that_it_is_made_for() -> None:
    assert "CONTRAFLOW_EXECUTION_PROVIDER=cuda" in stage("gpu")
    assert "CONTRAFLOW_EXECUTION_PROVIDER=cpu" in stage("cpu")


def test_onnx_runtime_sends_no_usage_events() -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in stage("runtime")


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_it_can_import_but_not_train(extra: str) -> None:
    (extras,) = re.findall(r"dependencies\.py (.+?) >", stage(f"{extra}-dependencies"))
    needed = requirements(ROOT / "pyproject.toml", extras.split())
    names = {re.split(r"[\[;<>=! ]", line)[0] for line in needed}
    assert names.isdisjoint({"torch", "onnxscript", "matplotlib"})
    assert {"onnx", "onnxruntime-gpu" if extra == "gpu" else "onnxruntime"} <= names


def test_what_is_installed_is_pinned() -> None:
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    needed = [re.split(r"[\[;<>=! ]", line)[0] for line in requirements(ROOT / "pyproject.toml", ["cpu", "export"])]
    assert [name for name in needed if name not in pinned] == []


def test_every_source_of_a_copy_reaches_the_builder() -> None:
    """`.dockerignore` starts from nothing; what the Dockerfile copies must be let through."""
    allowed = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert any(source == path or source.startswith(path + "/") for path in allowed), source


def test_trimming_removes_tests_and_leaves_the_package(tmp_path: Path) -> None:
    for name in ("numpy/__init__.py", "numpy/_core/tests/test_big.py", "numpy/f2py/x.py", "onnxruntime/capi/x.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    trim(tmp_path)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()) == [
        "numpy/__init__.py",
        "onnxruntime/capi/x.so",
    ]


def test_a_library_without_its_symbols_is_loaded_as_before(tmp_path: Path) -> None:
    """ml_dtypes comes with 23 MB of symbols; others, which have little to cut, are left as they are."""
    folder = Path(ml_dtypes.__file__).parent
    shutil.copytree(folder, tmp_path / "ml_dtypes")
    (library,) = (tmp_path / "ml_dtypes").glob("*.so")
    whole = library.read_bytes()
    cut_unloaded_end(library)
    assert library.stat().st_size < len(whole) / 10
    code = "import ml_dtypes, numpy; print(ml_dtypes.__file__, numpy.float32(1.004).astype(ml_dtypes.bfloat16))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "ml_dtypes" / "__init__.py"), "1.00781"]
    shortened = library.read_bytes()
    cut_unloaded_end(library)
    assert library.read_bytes() == shortened


def test_the_image_is_labelled_with_the_version_of_the_project() -> None:
    assert f"ARG VERSION={__version__}" in stage("runtime")


def hadolint(path: Path) -> str:
    """Return hadolint's findings, one a line."""
    command = [program("hadolint") or "hadolint", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_hadolint_finds_nothing_in_it() -> None:
    assert hadolint(ROOT / "Dockerfile") == ""


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    careless = tmp_path / "Dockerfile"
    careless.write_text("FROM python\nRUN cd /tmp && sudo pip install numpy\n", encoding="utf-8")
    assert "sudo" in hadolint(careless)
