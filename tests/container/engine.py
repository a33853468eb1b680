"""A container engine on this machine (docker or podman), with as few verbs as the tests need."""

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

from tests.container.client import free_port, wait_until_ready
from tests.programs import program

ROOT = Path(__file__).parents[2]
GRACE_SECONDS = 40
"""`terminationGracePeriodSeconds` of the manifests and `stop_grace_period` of the compose file."""


class EngineError(Exception):
    """The engine is missing or one of its commands failed; the message holds its last lines."""


@dataclass(frozen=True)
class Engine:
    """`command` is what is typed before the verb, e.g. ("podman", "--runtime", "runc")."""

    command: tuple[str, ...]
    build_options: tuple[str, ...] = ()

    @classmethod
    def answering(cls, environment: Mapping[str, str] = os.environ) -> Engine:
        """Return the engine that CONTAINER_ENGINE names, else docker or podman, whichever answers.

        CONTAINER_BUILD_OPTIONS are added to its `build`.

        Raises:
            EngineError: no engine answers.
        """
        named = environment.get("CONTAINER_ENGINE")
        build_options = tuple(shlex.split(environment.get("CONTAINER_BUILD_OPTIONS", "")))
        for command in [shlex.split(named)] if named else [["docker"], ["podman"]]:
            engine = cls(tuple(command), build_options)
            if shutil.which(command[0]) and engine._answers():
                return engine
        raise EngineError("no container engine answers: start Docker, or install podman (or set CONTAINER_ENGINE)")

    def _answers(self) -> bool:
        return subprocess.run([*self.command, "info"], capture_output=True, check=False).returncode == 0

    @property
    def name(self) -> str:
        return Path(self.command[0]).name

    def read(self, *arguments: str, timeout: float = 120) -> str:
        """Return the standard output of one command.

        Raises:
            EngineError: the command failed.
        """
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise EngineError(f"{self.name} {arguments[0]}: {last_lines(done.stderr)}")
        return done.stdout

    def build(self, target: str, tag: str) -> None:
        """Build one target of the Dockerfile; the engine's progress goes to standard error.

        Raises:
            EngineError: the build failed.
        """
        options = [*self.build_options]
        if self.name == "podman":
            options.append("--format=docker")  # images in the OCI format cannot have a HEALTHCHECK
        command = [*self.command, "build", *options, "--target", target, "--tag", tag, str(ROOT)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise EngineError(f"{self.name} build --target {target} failed")

    @contextmanager
    def container(self, image: str, options: Sequence[str] = (), arguments: Sequence[str] = ()) -> Iterator[Container]:
        """Run a container with a read-only root and no writable place at all, and remove it in the end."""
        read_only = ["--read-only"]
        if self.name == "podman":
            read_only.append("--read-only-tmpfs=false")  # podman would mount writable folders at /tmp and /run
        hardened = [*read_only, "--cap-drop=ALL", "--security-opt=no-new-privileges"]
        identity = self.read("run", "--detach", *hardened, *options, image, *arguments).strip().splitlines()[-1]
        try:
            yield Container(self, identity)
        finally:
            subprocess.run([*self.command, "rm", "--force", identity], capture_output=True, check=False)

    @contextmanager
    def serving(
        self, image: str, *options: str, settings: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
    ) -> Iterator[Service]:
        """Run the service in a container and wait until it is ready; `arguments` replace those of the image.

        Raises:
            TimeoutError: it did not become ready; the message ends with its log.
        """
        port = free_port()
        variables = {"CONTRAFLOW_HTTP_PORT": str(port), **(settings or {})}
        flags = [f"--publish=127.0.0.1:{port}:{port}", *(f"--env={name}={value}" for name, value in variables.items())]
        started = time.monotonic()
        with self.container(image, [*flags, *options], arguments) as container:
            try:
                wait_until_ready(port)
            except TimeoutError as error:
                raise TimeoutError(f"{error}; the log ends: {container.log()[-600:]}") from None
            yield Service(container, port, time.monotonic() - started)


@dataclass(frozen=True)
class Container:
    """A container that was started; it may have stopped since."""

    engine: Engine
    identity: str

    def inspect(self) -> dict[str, Any]:
        (description,) = json.loads(self.engine.read("container", "inspect", self.identity))
        assert isinstance(description, dict)
        return description

    def state(self) -> dict[str, Any]:
        """Return `Status`, `ExitCode`, `OOMKilled` and more."""
        state = self.inspect()["State"]
        assert isinstance(state, dict)
        return state

    def limits(self) -> str:
        """Return its limits in words, e.g. "1.07 GB, 2 CPUs, read-only root"."""
        host = self.inspect()["HostConfig"]
        cpus = host["NanoCpus"] / 1e9 if host.get("NanoCpus") else host["CpuQuota"] / (host["CpuPeriod"] or 100_000)
        root = "read-only" if host["ReadonlyRootfs"] else "writable"
        return f"{host['Memory'] / 1e9:.2f} GB, {cpus:g} CPUs, {root} root"

    def is_healthy(self, seconds: float = 60) -> bool:
        """Return what the image's HEALTHCHECK says: docker runs it by itself, podman has to be told to."""
        if self.engine.name == "podman":
            command = [*self.engine.command, "healthcheck", "run", self.identity]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        until = time.monotonic() + seconds
        while (health := self.state()["Health"]["Status"]) == "starting" and time.monotonic() < until:
            time.sleep(0.5)
        return bool(health == "healthy")

    def wait(self, seconds: float) -> int:
        """Return the exit status; raise `subprocess.TimeoutExpired` if it still runs after `seconds`."""
        return int(self.engine.read("wait", self.identity, timeout=seconds).split()[-1])

    def log(self) -> str:
        command = [*self.engine.command, "logs", self.identity]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def execute(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self.engine.command, "exec", self.identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if it has not ended by itself after the grace period."""
        self.engine.read("stop", "--time", str(GRACE_SECONDS), self.identity, timeout=GRACE_SECONDS + 60)


@dataclass(frozen=True)
class Service:
    """A container that is ready to serve."""

    container: Container
    port: int
    seconds_to_ready: float


def development_tool(name: str) -> str:
    """Return the path of a command that belongs to the development environment.

    Raises:
        EngineError: it is not installed.
    """
    if path := program(name):
        return path
    raise EngineError(f"{name} is not installed")


def last_lines(text: str, count: int = 5) -> str:
    return " ".join(text.strip().splitlines()[-count:])
