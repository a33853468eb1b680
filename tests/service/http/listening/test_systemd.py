"""Sockets passed as systemd passes them, what it is told, and the units in deploy/systemd."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest

from service.http.listening.systemd import passed_sockets
from service.http.starting import StartError
from tests.programs import needs
from tests.service.live_server import PATIENCE_SECONDS
from tests.service.tiny_bundles import write_bundle

ROOT = Path(__file__).parents[4]
UNITS = ROOT / "deploy" / "systemd"

PASS_ON = """\
import os, sys
for number, descriptor in enumerate(map(int, sys.argv[1].split(","))):
    os.dup2(descriptor, 100 + number)
count = number + 1
for number in range(count):
    os.dup2(100 + number, 3 + number)
    os.close(100 + number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": "a:b"}
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""Passes descriptors as those from 3 on to a program that it becomes, as systemd does."""


def with_sockets(sockets: Sequence[socket.socket], *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start Python with sockets passed to it."""
    numbers = [one.fileno() for one in sockets]
    command = [sys.executable, "-c", PASS_ON, ",".join(map(str, numbers)), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CONTRAFLOW_")}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment | variables, pass_fds=numbers, stderr=subprocess.PIPE, text=True
    )


def test_the_service_serves_on_the_sockets_that_it_is_passed_and_says_when(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundles", "tiny")
    with (
        socket.socket() as first,
        socket.socket(socket.AF_UNIX) as second,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
    ):
        first.bind(("127.0.0.1", 0))
        second.bind(f"\0contraflow-test-{os.getpid()}")
        for one in (first, second):
            one.listen()
        told.bind(f"\0contraflow-notify-{os.getpid()}")
        told.settimeout(60)
        notify = "@" + told.getsockname()[1:].decode()
        elsewhere = ["--http-port", "1", "--uds", str(tmp_path / "unused")]
        flags = [str(tmp_path / "bundles"), *elsewhere, "--drain-delay", "0"]
        with with_sockets([first, second], "-m", "service", *flags, NOTIFY_SOCKET=notify) as service:
            url = f"http://127.0.0.1:{first.getsockname()[1]}"
            answer = httpx.get(f"{url}/health/live", timeout=PATIENCE_SECONDS)  # waits until the service listens
            assert answer.json() == {"live": True}
            assert told.recv(100) == b"READY=1"
            service.send_signal(signal.SIGTERM)
            assert told.recv(100) == b"STOPPING=1"
            assert service.stderr is not None
            log = service.stderr.read()
        assert service.returncode == 0
        assert "uds (--uds, CONTRAFLOW_UDS) is ignored: systemd passes the sockets\n" in log
        assert not (tmp_path / "unused").exists()
        assert f"address: {url}\n" in log
        assert f"address: unix:@contraflow-test-{os.getpid()}\n" in log


def test_what_is_no_listening_socket_ends_the_start_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as silent, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        silent.bind(("127.0.0.1", 0))
        with with_sockets([silent], "-m", "service", str(tmp_path)) as service:
            assert service.stderr is not None
            (line,) = service.stderr.read().splitlines()
        assert service.returncode == 2
        assert "descriptor 3 is not a stream socket that listens; the socket unit needs ListenStream=" in line
        code = "import os; from service.http.listening.systemd import passed_sockets; passed_sockets(os.environ)"
        with with_sockets([datagrams], "-c", code) as service:
            assert service.stderr is not None
            assert "StartError: LISTEN_FDS" in service.stderr.read()


def test_variables_for_another_process_are_ignored_and_all_are_forgotten() -> None:
    for pid, count in (("1", "1"), ("", "1"), (str(os.getpid()), ""), (str(os.getpid()), "0")):
        environment = {"LISTEN_PID": pid, "LISTEN_FDS": count, "LISTEN_FDNAMES": "http", "HOME": "/"}
        assert passed_sockets(environment) == []
        assert environment == {"HOME": "/"}
    with pytest.raises(StartError, match="LISTEN_FDS"):
        passed_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "-1"})


@needs("systemd-analyze")
def test_the_units_are_those_of_systemd(tmp_path: Path) -> None:
    """The program of the unit is put there as one that exists, or it would be missed."""
    for unit in UNITS.iterdir():
        text = unit.read_text().replace("/opt/contraflow/bin/contraflow", shutil.which("true") or "/bin/true")
        (tmp_path / unit.name).write_text(text)
    units = [tmp_path / "contraflow.socket", tmp_path / "contraflow.service"]
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
