"""A container engine on this machine (docker or podman), as few verbs as the trials need."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class EngineError(Exception):
    """The engine is missing or a command of it failed; the message holds its last lines."""


@dataclass(frozen=True)
class Engine:
    """`command` is what is typed before the verb, e.g. ("podman", "--runtime", "runc")."""

    command: tuple[str, ...]
    build_options: tuple[str, ...] = ()

    @classmethod
    def found(cls, environment: Mapping[str, str] = os.environ) -> Engine:
        """`CONTAINER_ENGINE` if set, else docker or podman, whichever answers; `CONTAINER_BUILD_OPTIONS` go to build.

        Raises:
            EngineError: none answers.
        """
        named = environment.get("CONTAINER_ENGINE")
        candidates = [shlex.split(named)] if named else [["docker"], ["podman"]]
        for candidate in candidates:
            engine = cls(tuple(candidate), tuple(shlex.split(environment.get("CONTAINER_BUILD_OPTIONS", ""))))
            if shutil.which(candidate[0]) and engine.answers():
                return engine
        raise EngineError("no container engine answers: start Docker, or install podman (or set CONTAINER_ENGINE)")

    @property
    def name(self) -> str:
        return Path(self.command[0]).name

    def answers(self) -> bool:
        return subprocess.run([*self.command, "info"], capture_output=True, check=False).returncode == 0

    def version(self) -> str:
        return self.read("--version").strip()

    def read(self, *arguments: str, timeout: float = 120) -> str:
        """Standard output of one command.

        Raises:
            EngineError: it failed.
        """
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise EngineError(f"{self.name} {arguments[0]}: " + "\n".join(done.stderr.strip().splitlines()[-5:]))
        return done.stdout

    def build(self, context: Path, target: str, tag: str) -> None:
        """Build one target of the Dockerfile, its progress on standard error."""
        options = ["--format=docker"] if self.name == "podman" else []  # OCI images have no HEALTHCHECK
        command = [
            *self.command,
            "build",
            *options,
            *self.build_options,
            "--target",
            target,
            "--tag",
            tag,
            str(context),
        ]
        if subprocess.run(command, check=False).returncode != 0:
            raise EngineError(f"{self.name} build --target {target} failed")

    def inspect(self, image: str) -> dict[str, Any]:
        (description,) = json.loads(self.read("image", "inspect", image))
        assert isinstance(description, dict)
        return description

    @contextmanager
    def container(self, image: str, options: Sequence[str] = (), arguments: Sequence[str] = ()) -> Iterator[Container]:
        """A running container with a read-only root and no writable place at all; removed in the end."""
        read_only = ["--read-only", *(["--read-only-tmpfs=false"] if self.name == "podman" else [])]
        hardened = [*read_only, "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        identity = self.read("run", "--detach", *hardened, *options, image, *arguments).strip().splitlines()[-1]
        try:
            yield Container(self, identity)
        finally:
            subprocess.run([*self.command, "rm", "--force", identity], capture_output=True, check=False)


@dataclass(frozen=True)
class Container:
    """A container that was started; it may have stopped since."""

    engine: Engine
    identity: str

    def state(self) -> dict[str, Any]:
        """`Status`, `ExitCode`, `OOMKilled` and more."""
        (description,) = json.loads(self.engine.read("container", "inspect", self.identity))
        state = description["State"]
        assert isinstance(state, dict)
        return state

    def limits(self) -> str:
        """What it is held to, in words."""
        (description,) = json.loads(self.engine.read("container", "inspect", self.identity))
        host = description["HostConfig"]
        cpus = host["NanoCpus"] / 1e9 if host.get("NanoCpus") else host["CpuQuota"] / (host["CpuPeriod"] or 100_000)
        root = "read-only" if host["ReadonlyRootfs"] else "writable"
        return f"{host['Memory'] / 1e9:.2f} GB, {cpus:g} CPUs, {root} root"

    def healthy(self, seconds: float = 60) -> bool:
        """What the image's HEALTHCHECK says: podman has no clock of its own and is told to ask, docker is awaited."""
        if self.engine.name == "podman":
            command = [*self.engine.command, "healthcheck", "run", self.identity]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        until = time.monotonic() + seconds
        while (said := self.state()["Health"]["Status"]) == "starting" and time.monotonic() < until:
            time.sleep(0.5)
        return bool(said == "healthy")

    def wait(self, seconds: float) -> int:
        """The exit status; `subprocess.TimeoutExpired` if it still runs after `seconds`."""
        return int(self.engine.read("wait", self.identity, timeout=seconds).split()[-1])

    def log(self) -> str:
        done = subprocess.run(
            [*self.engine.command, "logs", self.identity], capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def execute(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self.engine.command, "exec", self.identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def stop(self, grace: int) -> None:
        """SIGTERM, and SIGKILL after `grace` seconds."""
        self.engine.read("stop", "--time", str(grace), self.identity, timeout=grace + 60)
