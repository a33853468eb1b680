"""The invariants of ARCHITECTURE.md that a machine can check: who imports whom, and that rules have cases."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FORBIDDEN = {
    "models": {"export", "service"},
    "export/graph": {"torch", "models"},
    "export/tracing": {"torch", "models"},
    "export/standard": {"torch", "models"},
    "export/gradient": {"torch", "models"},
    "export/importing": {"torch", "models"},
    "export/running": {"torch", "models"},
    "export/writing": {"torch", "models"},
    "service": {"torch", "onnx", "models", "export"},
}
SHARED_WITH_EXPORT = ("service/contract", "service/images", "service/output")


def imports(file: Path) -> set[str]:
    """Full names of the modules that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_run_one_way(folder: str) -> None:
    offences = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sources(folder)
        for name in imports(file)
        if name.split(".")[0] in FORBIDDEN[folder]
    }
    assert not offences


def test_one_file_of_the_service_knows_onnxruntime() -> None:
    files = [file.name for file in sources("service") if any(i.split(".")[0] == "onnxruntime" for i in imports(file))]
    assert len(files) == 1, files


def is_shared(name: str) -> bool:
    """True for a module of the rooms that both sides share."""
    return name.replace(".", "/").startswith(tuple(room + "/" for room in SHARED_WITH_EXPORT))


def test_what_both_sides_share_imports_nothing_else_of_the_service() -> None:
    offences = {
        f"{file.relative_to(ROOT)} imports {name}"
        for room in SHARED_WITH_EXPORT
        for file in sources(room)
        for name in imports(file)
        if name.startswith("service") and not is_shared(name)
    }
    assert not offences


def test_export_takes_from_the_service_only_what_both_share() -> None:
    offences = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sources("export")
        for name in imports(file)
        if name.startswith("service") and not is_shared(name)
    }
    assert not offences


def test_the_bench_takes_from_the_tests_only_the_hostile_inputs() -> None:
    offences = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sources("bench")
        for name in imports(file)
        if name.split(".")[0] == "tests" and not name.startswith("tests.attacks")
    }
    assert not offences


def test_the_serving_process_loads_neither_torch_nor_onnx() -> None:
    code = (
        "import sys, service.__main__; print(*(m for m in ('torch', 'onnx', 'models', 'export') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
