"""docs/operate.md does what it says.

The commands of a section run as one script, and print what stands below them. In the script, `contraflow serve` starts
a service in the background, in place of the one before. A block of `text` holds lines that were written since the block
of commands before it, in whatever order; `…` stands for anything.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import program

ROOT = Path(__file__).parents[2]
PORTS = ("8000", "8080", "9100")
"""Ports that the pages name; the test puts free ones in their place."""

PRELUDE = r"""
set -euo pipefail
service=
stop() { if [ -n "$service" ]; then kill "$service"; wait "$service" || true; service=; fi; }
trap stop EXIT
nginx() { if [ "$(id -u)" = 0 ]; then command nginx -g 'user root;' "$@"; else command nginx "$@"; fi; }
contraflow() {
    if [ "$1" != serve ]; then command contraflow "$@"; return; fi
    stop
    local before=$(grep -c 'address: ' output || true)
    command contraflow "$@" 2>&1 &
    service=$!
    until [ "$(grep -c 'address: ' output)" -gt "$before" ]; do kill -0 $service; sleep 0.05; done
    local address=$(grep -o 'address: [^ "]*' output | tail -n 1); address=${address#address: }
    local way=(); if [[ $address == unix:* ]]; then way=(--unix-socket "${address#unix:}"); address=http://localhost; fi
    until curl -sf -o ready.json "${way[@]}" "$address/health/ready"; do kill -0 $service; sleep 0.05; done
}
"""


def blocks(section: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(sh|text)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


def sections(page: str) -> dict[str, str]:
    text = (ROOT / "docs" / page).read_text()
    return dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))


OPERATE = sections("operate.md")


def marker(number: int) -> str:
    return f"### block {number}"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder with those parts of the repository that the commands read."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bundles").symlink_to(ROOT / "models" / "bundles")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    shutil.copy(ROOT / "tests" / "photographs" / "truck.jpg", tmp_path)
    yield tmp_path
    pid = tmp_path / "nginx.pid"
    if pid.exists():
        os.kill(int(pid.read_text()), 15)


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def output_of(script: str, folder: Path) -> list[str]:
    """Run a script on free ports, and return the lines that its commands and services wrote."""
    ports = {port: free_port() for port in PORTS}
    for port, free in ports.items():
        script = re.sub(rf"\b{port}\b", free, script)
    tools = Path(program("contraflow") or "").parent
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CONTRAFLOW_", "OTEL_"))},
        "PATH": f"{tools}:{os.environ['PATH']}",
        "CONTRAFLOW_DRAIN_DELAY": "0",
        "CONTRAFLOW_WARM_UP": "false",
        "CONTRAFLOW_HTTP_PORT": ports["8000"],
    }
    output = folder / "output"
    with output.open("w") as written:
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=written,
            stderr=written, timeout=120, check=False,
        )  # fmt: skip
    text = output.read_text()
    assert done.returncode == 0, text
    return text.splitlines()


@pytest.mark.parametrize("title", OPERATE)
def test_the_commands_of_a_section_run_and_print_what_it_says(title: str, folder: Path) -> None:
    parts = blocks(OPERATE[title])
    script = PRELUDE + "\n".join(
        f"printf '\\n{marker(number)}\\n'\n{block}" for number, (kind, block) in enumerate(parts) if kind == "sh"
    )
    for needed in ("curl", "nginx", "promtool", "kubectl"):
        if re.search(rf"^{needed} ", script, flags=re.MULTILINE) and program(needed) is None:
            pytest.skip(f"{needed} is not installed")
    lines = output_of(script, folder)
    for number, (kind, block) in enumerate(parts):
        if kind == "text":
            since = lines[lines.index(marker(number - 1)) :]
            for line in block.splitlines():
                pattern = ".*".join(map(re.escape, line.split("…")))
                assert any(re.fullmatch(pattern, one) for one in since), "\n".join([line, "is not among:", *since])


def test_every_section_has_commands() -> None:
    assert len(OPERATE) == 8
    assert [title for title, section in OPERATE.items() if not any(kind == "sh" for kind, _ in blocks(section))] == []
