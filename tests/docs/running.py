"""The code of a page as one script, and the lines that it wrote.

The blocks of a page run in their order, in one folder. `contraflow serve` starts a service in the background, in place
of the one before. `python` blocks with no `sh` block between them are one program. In `yaml`, the `contraflow` commands
of a pipeline are run. A block of `text` holds lines that were written since the block of commands before it, in
whatever order; `…` stands for anything.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.docs.pages import Block
from tests.programs import program

PORTS: Final = ("8000", "8001", "8080", "9100")
"""Ports that the pages name; free ones take their place."""

PIPELINE_COMMAND: Final = re.compile(r"^ *(?:- )?(?:run: )?(contraflow .*)$", re.MULTILINE)
LIMIT_SECONDS: Final = 300

PRELUDE: Final = r"""
set -euo pipefail
service=
stop() { if [ -n "$service" ]; then kill "$service" 2> /dev/null || true; wait "$service" || true; service=; fi; }
trap stop EXIT
nginx() { if [ "$(id -u)" = 0 ]; then command nginx -g 'user root;' "$@"; else command nginx "$@"; fi; }
contraflow() {
    if [ "$1" != serve ]; then command contraflow "$@"; return; fi
    stop
    local before=$(grep -c 'address: ' "$OUTPUT" || true)
    command contraflow "$@" 2>&1 &
    service=$!
    until [ "$(grep -c 'address: ' "$OUTPUT")" -gt "$before" ]; do kill -0 $service; sleep 0.05; done
    local address=$(grep -o 'address: [^ "]*' "$OUTPUT" | tail -n 1); address=${address#address: }
    local way=(); if [[ $address == unix:* ]]; then way=(--unix-socket "${address#unix:}"); address=http://localhost; fi
    until curl -sf -o "$OUTPUT.ready" "${way[@]}" "$address/health/ready"; do kill -0 $service; sleep 0.05; done
}
"""


def output_of(page: list[Block], folder: Path, cache: Path) -> None:
    """Run the blocks of a page in `folder`, and compare what they wrote with its blocks of `text`.

    Args:
        page: the blocks.
        folder: where they run.
        cache: where imported models are kept.

    Raises:
        AssertionError: a command failed, or a line that the page shows was not written.
    """
    ports = {port: _free_port() for port in PORTS}
    steps = [replace(block, code=_on_ports(block.code, ports)) for block in page if not block.reason]
    for block in steps:
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")
    lines = _lines_of("\n".join([PRELUDE, *_script(steps, folder)]), folder, cache, ports["8000"])
    for number, block in enumerate(steps):
        if block.language == "text" and not block.title:
            _compare(block.code, lines, _command_before(steps, number))


def needed_programs(page: list[Block]) -> set[str]:
    """Return the programs that a page's commands call and that a machine may lack."""
    code = "\n".join(block.code for block in page if block.language == "sh" and not block.reason)
    found = {name for name in ("curl", "nginx", "promtool", "kubectl", "jq") if re.search(rf"(?m)(^|\| ){name} ", code)}
    return found | ({"curl"} if "contraflow serve" in code else set())


def _script(steps: list[Block], folder: Path) -> Iterator[str]:
    in_python: Path | None = None
    for number, block in enumerate(steps):
        if block.title or block.language not in {"sh", "python", "yaml"}:
            continue
        if block.language == "python":
            if in_python is None:
                in_python = folder / f".program{number}.py"
                in_python.touch()
                yield f"python {in_python.name}"
            with in_python.open("a", encoding="utf-8") as code:
                code.write(f"print('\\n{_marker(number)}', flush=True)\n{block.code}")
            continue
        in_python = None
        commands = block.code if block.language == "sh" else "\n".join(PIPELINE_COMMAND.findall(block.code))
        yield f"printf '\\n{_marker(number)}\\n'\n{commands}"


def _marker(number: int) -> str:
    return f"### block {number}"


def _command_before(steps: list[Block], number: int) -> int:
    return max(
        index for index, one in enumerate(steps[:number]) if one.language in {"sh", "python", "yaml"} and not one.title
    )


def _compare(expected: str, lines: list[str], since: int) -> None:
    written = lines[lines.index(_marker(since)) :]
    for line in filter(None, expected.splitlines()):
        pattern = ".*".join(map(re.escape, line.rstrip().split("…")))
        assert any(re.fullmatch(pattern, one.rstrip()) for one in written), "\n".join([line, "is not among:", *written])


def _on_ports(text: str, ports: dict[str, str]) -> str:
    for port, free in ports.items():
        text = re.sub(rf"(?<![\d.]){port}(?![\d.])", free, text)
    return text


def _free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def _lines_of(script: str, folder: Path, cache: Path, http_port: str) -> list[str]:
    tools = Path(program("contraflow") or "").parent
    output = folder / ".output"
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CONTRAFLOW_", "OTEL_"))},
        "PATH": f"{tools}:{os.environ['PATH']}",
        "OUTPUT": str(output),
        "CONTRAFLOW_CACHE": str(cache),
        "CONTRAFLOW_DRAIN_DELAY": "0",
        "CONTRAFLOW_WARM_UP": "false",
        "CONTRAFLOW_HTTP_PORT": http_port,
        "OMP_NUM_THREADS": "1",
    }
    with output.open("w") as written:
        done = subprocess.run(
            ["bash", "-c", script], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=written,
            stderr=written, timeout=LIMIT_SECONDS, check=False,
        )  # fmt: skip
    text = output.read_text(encoding="utf-8")
    assert done.returncode == 0, text
    return text.splitlines()
