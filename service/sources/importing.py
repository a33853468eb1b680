"""The process that imports: `python -m export onnx`, run beside the service, which imports neither it nor onnx."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from service.output.extras import how_to_install
from service.output.printable import printable
from service.sources.kinds import SourceError

ROOT: Final = Path(__file__).parents[2]
"""Folder that the packages `service` and `export` lie in, side by side."""
ENGINE: Final = ("export", "service/contract", "service/images")
"""The code that decides what an import makes."""
STILL_IMPORTING: Final = 10.0
"""Seconds between two signs of life."""
MOST_CHARACTERS: Final = 2000
"""Most characters of a line of the import; what is asked for is listed with all its presets."""


class ImportRefused(Exception):
    """The import refused the model; the message is its sentence."""


class ImportInterrupted(Exception):
    """The import was ended from outside, so that nothing is known about the model."""


def check_importer(path: Path) -> None:
    """Check that models can be imported here.

    Raises:
        SourceError: the importing package or what it needs is not installed.
    """
    if not (ROOT / "export" / "__main__.py").is_file():
        raise SourceError(
            f"{path} has to be imported, but the package `export` is not here: import it elsewhere "
            "(contraflow import), and serve the bundle"
        )
    if find_spec("onnx") is None:
        raise SourceError(f"{path} has to be imported, but {how_to_install('onnx')}")


@cache
def engine_version() -> str:
    """Return a digest of the code that imports and of the libraries that it stands on: an upgrade imports again."""
    whole = hashlib.sha256()
    for folder in ENGINE:
        for file in sorted((ROOT / folder).rglob("*.py")):
            whole.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    for package in ("onnx", "onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(PackageNotFoundError):
            whole.update(f"{package} {version(package)}\n".encode())
    return whole.hexdigest()


class ImportProcess:
    """One import at a time; `stop` ends the present one and refuses all others.

    A process has the priority of the thread that begins it, so that one begun by the loader gives way to requests.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` gets the lines that the import prints, and a sign of life now and then."""
        self._say = say
        self._process: subprocess.Popen[str] | None = None
        self._one_at_a_time = threading.Lock()
        self._stopped = threading.Event()

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def stop(self) -> None:
        self._stopped.set()
        process = self._process
        if process is not None:
            with contextlib.suppress(OSError):
                process.kill()

    def run(self, path: Path, flags: Sequence[str], out: Path) -> None:
        """Import the model at `path` into `out`.

        Raises:
            ImportRefused: it cannot be imported.
            ImportInterrupted: the import was ended from outside, or could not be begun.
        """
        with self._one_at_a_time:
            if self._stopped.is_set():
                raise ImportInterrupted("the service ends")
            began = time.monotonic()
            self._say(f"{path}: importing")
            output, errors, status = self._communicate(path, flags, out)
        if status < 0:
            raise ImportInterrupted(f"the import was ended by signal {-status}, perhaps for want of memory")
        if status != 0:
            reason = _reason(errors, path, status)
            if reason.startswith(str(out)):
                raise ImportInterrupted(f"the cache cannot be written: {reason.partition('written: ')[2] or reason}")
            raise ImportRefused(reason)
        for line in output.splitlines():
            if not line.startswith(str(out)):  # nobody needs the name of a folder that is going to be renamed
                self._say(f"{path}: {printable(line.strip(), MOST_CHARACTERS)}")
        self._say(f"{path}: imported in {time.monotonic() - began:.1f} s")

    def _communicate(self, path: Path, flags: Sequence[str], out: Path) -> tuple[str, str, int]:
        # -P: a folder called `export` where the service was started is not ours.
        command = [sys.executable, "-P", "-m", "export", "onnx", os.path.abspath(path), *flags, "--out", str(out)]
        places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "PYTHONIOENCODING": "utf-8:replace"}
        try:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise ImportInterrupted(f"the import cannot be begun: {error.strerror}") from error
        self._process = process
        try:
            if self._stopped.is_set():
                process.kill()
            began = time.monotonic()
            while True:
                try:
                    output, errors = process.communicate(timeout=STILL_IMPORTING)
                    return output, errors, process.returncode
                except subprocess.TimeoutExpired:
                    self._say(f"{path}: still importing after {time.monotonic() - began:.0f} s")
        finally:
            if process.returncode is None:
                process.kill()
                process.wait()
            self._process = None


def _reason(errors: str, path: Path, status: int) -> str:
    """Return the sentence with which an import refused a model, without the path, which is said anyway."""
    lines = [line for line in errors.splitlines() if line.strip()]
    sentences = [line.partition("error: ")[2] for line in lines if "error: " in line]
    if not sentences:
        return printable(f"the import ended with status {status}: {lines[-1] if lines else 'no word'}", MOST_CHARACTERS)
    return printable(sentences[-1].removeprefix(f"{os.path.abspath(path)}: "), MOST_CHARACTERS)
