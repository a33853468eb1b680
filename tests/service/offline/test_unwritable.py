"""Commands whose output cannot be written end with status 2, and files that were there before stay whole.

A disk is full by the limit that the system puts on the size of a file, or is one of 64 KiB.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.offline.model import CHUNK
from service.offline.table import merge
from service.output.console import ended_in_words
from service.output.whole_files import replaced_file
from tests.service.live_server import wait_until

ROOT = Path(__file__).parents[3]
BUNDLES = ROOT / "models" / "bundles"
CHECK = ["check", str(BUNDLES / "resnet20"), "--images", "2"]


def limited(size: int) -> Callable[[], None]:
    """Return a function that limits a child process's files to `size` bytes, as if the disk were full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def heeding_interrupts() -> None:
    """Let a child process be interrupted although this one ignores it, as it does in the background of a script."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "service", *arguments]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More photographs than are measured at a time."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "cat").mkdir()
    for number in range(CHUNK + 4):
        shutil.copy(ROOT / "tests" / "photographs" / "cat.jpg", folder / "cat" / f"{number:03}.jpg")
    return folder


def diagnosing(photographs: Path, out: Path, *more: str) -> list[str]:
    data = ["--bundle", str(BUNDLES / "resnet20"), "--data", str(photographs)]
    return command("diagnose", *data, "--out", str(out), *more)


def done(arguments: list[str], size: int | None = None) -> subprocess.CompletedProcess[str]:
    limit = limited(size) if size is not None else None
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, preexec_fn=limit)


def hidden(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir() if file.name.startswith(".")]


# ---------------------------------------------------------------- standard output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_verdict_that_cannot_be_written_is_no_verdict() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command(*CHECK), cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == ["error: the answer cannot be written: No space left on device"]


def test_a_closed_standard_output_is_no_verdict() -> None:
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command(*CHECK)], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == ["error: the answer cannot be written: standard output is closed"]


def test_a_reader_that_has_gone_ends_a_command_as_a_closed_pipe_does() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(command(*CHECK), cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_complaints_that_nobody_can_read_change_no_status() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(command("check", "no-such-bundle"), cwd=ROOT, stdout=subprocess.PIPE, stderr=full)
    assert ended.returncode == 2


@pytest.mark.parametrize("status", [0, 1])
def test_a_command_that_could_say_what_it_found_keeps_its_status(status: int) -> None:
    assert ended_in_words(lambda: status) == status


# ---------------------------------------------------------------- the report


def test_a_report_on_a_full_disk_leaves_the_one_before(photographs: Path, tmp_path: Path) -> None:
    report, table = tmp_path / "report.html", tmp_path / "report.csv"
    report.write_text("the report before")
    report.chmod(0o640)
    assert done(diagnosing(photographs, table)).returncode == 0
    ended = done(diagnosing(photographs, report), size=table.stat().st_size)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == (
        f"error: {report} cannot be written: File too large; what was there is unchanged"
    )
    assert report.read_text() == "the report before"
    assert hidden(tmp_path) == []
    assert done(diagnosing(photographs, report)).returncode == 0
    assert "<h1>" in report.read_text()
    assert report.stat().st_mode & 0o777 == 0o640


def test_a_table_on_a_full_disk_keeps_its_rows_and_goes_on_there(photographs: Path, tmp_path: Path) -> None:
    whole, table = tmp_path / "whole.csv", tmp_path / "table.csv"
    assert done(diagnosing(photographs, whole)).returncode == 0
    ended = done(diagnosing(photographs, table), size=whole.stat().st_size - 1)
    assert ended.returncode == 2
    assert f"{table} cannot be written: File too large" in ended.stderr
    assert "Traceback" not in ended.stderr
    lines = whole.read_bytes().splitlines(keepends=True)
    assert table.read_bytes() == b"".join(lines[: 1 + CHUNK]), "the header and the rows of one round"
    assert done(diagnosing(photographs, table)).returncode == 0
    assert table.read_bytes() == whole.read_bytes()


def test_a_run_that_is_interrupted_says_so_and_goes_on_later(photographs: Path, tmp_path: Path) -> None:
    whole, table = tmp_path / "whole.csv", tmp_path / "table.csv"
    assert done(diagnosing(photographs, whole)).returncode == 0
    read_end, write_end = os.pipe()
    room = fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write_end, b" " * room)  # nobody reads yet: the run waits where it first says how far it is
    arguments = diagnosing(photographs, table)
    with subprocess.Popen(arguments, cwd=ROOT, stderr=write_end, preexec_fn=heeding_interrupts) as running:
        os.close(write_end)
        wait_until(lambda: table.exists() or running.poll() is not None)
        running.send_signal(signal.SIGINT)
        with open(read_end, encoding="utf-8") as said:
            complaint = said.read()
    assert running.returncode == 130, complaint
    assert "error: interrupted" in complaint
    assert "Traceback" not in complaint
    assert len(table.read_bytes().splitlines()) <= 1 + CHUNK < len(whole.read_bytes().splitlines()), "it ended at once"
    assert done(diagnosing(photographs, table)).returncode == 0
    assert table.read_bytes() == whole.read_bytes()


# ---------------------------------------------------------------- merged tables


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    files = [tmp_path / "part1.csv", tmp_path / "part2.csv"]
    for number, file in enumerate(files):
        file.write_bytes(b"path,label\r\n" + f"{number}.jpg,cat\r\n".encode() * 1000)
    return files


def test_parts_of_different_models_leave_the_table_as_it_was(parts: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("before")
    parts[1].write_bytes(b"path,other\r\n")
    with pytest.raises(ValueError, match="another model"):
        merge(parts, table)
    assert table.read_text() == "before"


def test_parts_may_be_merged_into_one_of_them(parts: list[Path]) -> None:
    expected = parts[0].read_bytes() + parts[1].read_bytes().split(b"\n", 1)[1]
    merge(parts, parts[0])
    assert parts[0].read_bytes() == expected


def test_parts_merged_onto_a_full_disk_leave_the_table_as_it_was(parts: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("before")
    code = (
        "import pathlib, sys; from service.offline.table import merge; *parts, out = map(pathlib.Path, sys.argv[1:]); "
    )
    arguments = [sys.executable, "-c", code + "merge(parts, out)", *map(str, parts), str(table)]
    ended = done(arguments, size=parts[0].stat().st_size)
    assert "what was there is unchanged" in ended.stderr
    assert table.read_text() == "before"
    assert hidden(tmp_path) == []


# ---------------------------------------------------------------- whole files


def replace(file: Path, *contents: bytes) -> None:
    with replaced_file(file) as stream:
        for content in contents:
            stream.write(content)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which root alone can")
def test_a_small_file_system_that_is_full_keeps_the_file_before(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (disk / "report").write_bytes(b"before")
        with pytest.raises(OSError, match="No space left on device; what was there"):
            replace(disk / "report", bytes(100_000))
        assert [file.name for file in disk.iterdir()] == ["report"]
        assert (disk / "report").read_bytes() == b"before"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_file_behind_a_link_is_replaced_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    (tmp_path / "link").symlink_to("file")
    with replaced_file(tmp_path / "link") as stream:
        stream.write(b"after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "after"


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    with pytest.raises(TypeError):
        replace(tmp_path / "file", b"half", "no bytes")  # type: ignore[arg-type]
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "before")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("n" * 300, "File name too long"),
        ("nowhere/file", "No such file or directory"),
        ("file/file", "Not a directory"),
    ],
    ids=["long", "nowhere", "in a file"],
)
def test_a_place_that_cannot_hold_a_file_is_named_with_the_reason(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("before")
    told = f"{tmp_path / name} cannot be written: {reason}; nothing was written"
    with pytest.raises(OSError, match=f"^{re.escape(told)}$"):
        replace(tmp_path / name, b"after")
