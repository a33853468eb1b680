"""The architecture, as ARCHITECTURE.md draws it: rooms on floors, imports that run downwards, and no circle.

A room is a folder or a file directly inside a folder of code. Each room stands on a floor, and imports
only from lower floors of its own folder. What is not in the tables below fails.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS: dict[str, tuple[frozenset[str], ...]] = {}
"""Folder of code → its rooms by floor, the lowest first."""


def floors(*lowest_first: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(rooms.split()) for rooms in lowest_first)


FLOORS["service"] = floors(
    "machine output",
    "contract",
    "errors images",
    "bundles settings",
    "diagnostics engine sources",
    "monitoring offline",
    "http",
    "app client",
    "__main__",
)
FLOORS["service/contract/runtime"] = floors("runs", "widened", "session", "gpu", "provider", "opening")
FLOORS["service/diagnostics"] = floors(
    "schemas words",
    "verdicts",
    "drawing",
    "baseline loss_change losses noise pictures shattering versions",
    "compare features gradients",
    "measurement scores",
    "quantized",
    "answer explanation",
)
FLOORS["service/http"] = floors(
    "answers",
    "keys requests",
    "calls",
    "open_inference",
    "documentation",
    "routes",
    "connection",
    "starting",
    "listening",
    "server",
)
FLOORS["export"] = floors(
    "graph",
    "tracing writing running",
    "standard statistics",
    "gradient",
    "importing verification",
    "trained coverage phenomena",
    "bundle_table",
    "__main__",
)
FLOORS["export/gradient"] = floors(
    "rules",
    "layout norms",
    "shared",
    "backward maps simplify staging",
    "prepare slopes",
    "affine context",
    "emissions",
    "build",
)
FLOORS["export/importing"] = floors(
    "flags", "answer file folders weights", "types", "classifier resolving", "provenance", "command"
)
FLOORS["export/coverage"] = floors(
    "architectures children preloaded truth",
    "rivals",
    "files",
    "measure",
    "exact served",
    "rows",
    "store tasks explained",
    "page explain",
    "__main__",
)
FLOORS["models"] = floors("networks", "training", "phenomena", "__main__")

FLOORS["bench/reference"] = floors(
    "markdown",
    "types",
    "fields",
    "bundle_format command_line endpoints metrics python settings",
    "__main__",
)

FORBIDDEN = {
    "contraflow": {"torch", "onnx", "onnxruntime", "numpy", "bench", "tests"},
    "models": {"export", "service", "bench", "contraflow", "tests"},
    "export": {"bench", "contraflow", "tests"},
    "export/graph": {"torch", "models"},
    "export/tracing": {"torch", "models"},
    "export/standard": {"torch", "models"},
    "export/gradient": {"torch", "models"},
    "export/importing": {"torch", "models"},
    "export/running": {"torch", "models"},
    "export/writing": {"torch", "models"},
    "service": {"torch", "onnx", "models", "export", "bench", "contraflow", "tests"},
}
"""Packages that a folder never imports."""

SHARED_WITH_EXPORT = ("service.contract", "service.images", "service.output")
"""The rooms of the service on which `export` stands, so that both sides share one definition."""

MOST_FILES = 13
"""A folder that holds more files of code is two rooms."""


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def sources(folder: str) -> tuple[Path, ...]:
    return tuple(sorted((ROOT / folder).rglob("*.py")))


@cache
def imports(file: Path) -> frozenset[str]:
    """Full names of the modules that a file imports, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{file}: imports are absolute"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                path = ROOT / name.replace(".", "/")
                found.add(name if path.with_suffix(".py").is_file() or path.is_dir() else node.module)
    return frozenset(found)


def rooms_of(folder: str) -> set[str]:
    """Names of the folders and files directly inside a folder that hold code."""
    inside = (ROOT / folder).iterdir()
    return {
        path.stem
        for path in inside
        if (path.suffix == ".py" and path.stem != "__init__") or (path.is_dir() and any(path.rglob("*.py")))
    }


def arrows(folder: str) -> Iterator[tuple[Path, str, str]]:
    """Every import from one room of a folder into another: the file, its room, the room it imports."""
    package = folder.replace("/", ".") + "."
    for file in sources(folder):
        room = file.relative_to(ROOT / folder).parts[0].removesuffix(".py")
        for name in imports(file):
            if name.startswith(package):
                imported = name.removeprefix(package).split(".")[0]
                if imported != room:
                    yield file, room, imported


@pytest.mark.parametrize("folder", FLOORS)
def test_every_room_stands_on_one_floor(folder: str) -> None:
    listed = [room for floor in FLOORS[folder] for room in floor]
    assert sorted(listed) == sorted(rooms_of(folder))


@pytest.mark.parametrize("folder", FLOORS)
def test_imports_run_downwards(folder: str) -> None:
    height = {room: floor for floor, rooms in enumerate(FLOORS[folder]) for room in rooms}
    upward = {
        f"{file.relative_to(ROOT)} imports from {imported}"
        for file, room, imported in arrows(folder)
        if room != "__init__" and height[imported] >= height[room]
    }
    assert not upward


@pytest.mark.parametrize("folder", ["service", "service/http", "export"])
def test_the_document_shows_the_same_floors(folder: str) -> None:
    _, _, table = (ROOT / "ARCHITECTURE.md").read_text().partition(f"| floor | `{folder}/` | holds |\n|---|---|---|\n")
    shown: dict[int, set[str]] = {}
    for row in table.partition("\n\n")[0].splitlines():
        floor, room = (cell.strip() for cell in row.split("|")[1:3])
        shown.setdefault(int(floor or min(shown)), set()).add(room.strip("`/"))
    assert tuple(shown[floor] for floor in sorted(shown)) == FLOORS[folder]


def test_the_service_is_small_enough_to_be_kept_in_mind() -> None:
    assert len(rooms_of("service")) <= 16
    assert len(FLOORS["service"]) <= 9


@pytest.mark.parametrize("folder", ["contraflow", "service", "export", "models", "bench", "tests", "deploy"])
def test_no_folder_holds_more_than_about_a_dozen_files(folder: str) -> None:
    folders = {file.parent for file in sources(folder)}
    counts = {place.relative_to(ROOT): sum(f.name != "__init__.py" for f in place.glob("*.py")) for place in folders}
    assert {place: count for place, count in counts.items() if count > MOST_FILES} == {}


ROOMS_TO_LIST = sorted(
    str(file.parent.relative_to(ROOT))
    for top in ("contraflow", "service", "export", "models")
    for file in (ROOT / top).rglob("__init__.py")
    if len(list(file.parent.glob("*.py"))) > 2
)
"""Folders of at least two files of code."""


@pytest.mark.parametrize("folder", ROOMS_TO_LIST)
def test_a_room_says_what_each_of_its_files_is(folder: str) -> None:
    """Each line of the list in `__init__.py` is a name, or several with commas, then spaces and what it is."""
    text = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text())) or ""
    listed = {
        name.removesuffix("/")
        for names in re.findall(r"^ *([\w/]+(?:, [\w/]+)*) {2,}\S", text, flags=re.MULTILINE)
        for name in names.split(", ")
    }
    there = rooms_of(folder)
    assert there <= listed
    assert {name for name in listed - there if not (ROOT / folder / name).is_dir()} == set()


def test_no_files_import_each_other_in_a_circle() -> None:
    packages = ("contraflow", "service", "export", "models", "bench")
    files = {module_of(file): file for folder in packages for file in sources(folder)}
    graph = {
        module: {name for name in imports(file) if name in files and files[name].name != "__init__.py"}
        for module, file in files.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(error.args[1]))


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_packages_import_only_what_they_may(folder: str) -> None:
    offences = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sources(folder)
        for name in imports(file)
        if name.split(".")[0] in FORBIDDEN[folder]
    }
    assert not offences


def test_export_takes_from_the_service_only_what_both_share() -> None:
    offences = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sources("export")
        for name in imports(file)
        if name.startswith("service") and not name.startswith(SHARED_WITH_EXPORT)
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


def test_no_test_module_imports_another() -> None:
    """Parts that several test modules need lie in files beside them."""
    offences = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in sources("tests")
        for name in imports(file)
        if name.startswith("tests.") and ".test_" in name
    }
    assert not offences


def test_what_both_share_imports_nothing_else_of_the_service() -> None:
    offences = {
        f"{file.relative_to(ROOT)} imports {name}"
        for room in SHARED_WITH_EXPORT
        for file in sources(room.replace(".", "/"))
        for name in imports(file)
        if name.startswith("service") and not name.startswith(SHARED_WITH_EXPORT)
    }
    assert not offences


def test_one_folder_of_the_service_knows_onnxruntime() -> None:
    files = [file for file in sources("service") if any(i.split(".")[0] == "onnxruntime" for i in imports(file))]
    runtime = ROOT / "service" / "contract" / "runtime"
    assert {file.parent for file in files} == {runtime, runtime / "gpu"}


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        (
            "service.__main__, service.app, service.http.server, service.monitoring.telemetry.starting",
            ("torch", "onnx", "models", "export", "opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf"),
        ),
        ("contraflow.__main__", ("torch", "onnx", "onnxruntime", "fastapi", "models", "export")),
    ],
)
def test_the_serving_process_loads_nothing_that_it_does_not_need(imported: str, absent: tuple[str, ...]) -> None:
    """The command loads next to nothing before it knows its verb."""
    code = f"import sys, {imported}; print(*(name for name in {absent} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
