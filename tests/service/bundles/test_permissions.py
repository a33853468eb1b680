"""Bundles that may not be read and graphs without memory, in a process to which such limits apply."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.service.bundles.steps import predict
from tests.service.bundles.unkind_process import close_to_others, obey_permissions, open_again
from tests.service.live_server import PATIENCE_SECONDS, best_label, wait_until
from tests.service.tiny_bundles import write_bundle

ROOT = Path(__file__).parents[3]


@contextmanager
def service(folder: Path, *flags: str) -> Iterator[httpx.Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "service", "--bundles", str(folder), "--http-port", str(port), *flags]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, preexec_fn=obey_permissions)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as client:
            wait_until(lambda: _is_live(client))
            yield client
    finally:
        process.kill()
        process.wait()


def _is_live(client: httpx.Client) -> bool:
    try:
        return client.get("/health/live").status_code == 200
    except httpx.TransportError:
        return False


def unavailable(client: httpx.Client) -> dict[str, str]:
    return dict(client.get("/models").json()["unavailable"])


def test_a_volume_with_lost_and_found_is_served_and_followed(tmp_path: Path) -> None:
    """The root of every ext4 volume has such a folder."""
    write_bundle(tmp_path, "tiny")
    (tmp_path / "lost+found").mkdir()
    close_to_others(tmp_path / "lost+found")
    with service(tmp_path, "--bundle-poll-seconds", "0.05") as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        assert unavailable(client) == {}  # no bundle can be called that
        write_bundle(tmp_path, "second")
        wait_until(lambda: predict(client, "second").status_code == 200)
    open_again(tmp_path / "lost+found")


def test_a_bundle_that_may_not_be_read_for_a_while_is_served_on_and_one_that_never_could_comes(tmp_path: Path) -> None:
    """Closing the bundle's folder or one of its files changes no file's time of modification."""
    served, new = write_bundle(tmp_path, "served"), write_bundle(tmp_path, "new")
    write_bundle(tmp_path, "versions", version="1")
    close_to_others(new / "forward.onnx")
    with service(tmp_path, "--bundle-poll-seconds", "0.05") as client:
        denied = {"new": "forward.onnx cannot be read: Permission denied"}
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        assert unavailable(client) == denied
        assert predict(client, "new").status_code == 503
        closed = (served, tmp_path / "versions" / "1")
        for path in closed:
            close_to_others(path)
        denied |= {"served": "Permission denied", "versions/1": "Permission denied"}
        wait_until(lambda: unavailable(client) == denied)
        assert best_label(predict(client, "served")) == best_label(predict(client, "versions")) == "red"
        for path in (*closed, new / "forward.onnx"):
            open_again(path)
        wait_until(lambda: unavailable(client) == {})
        for name in ("served", "versions", "new"):
            assert best_label(predict(client, name)) == "red"
        shutil.rmtree(served)  # on purpose
        wait_until(lambda: predict(client, "served").status_code == 404)


MEMORY = """
import resource, sys
from pathlib import Path
from service.bundles.loading import Loader
from service.bundles.registry import Registry
from service.bundles.source import FolderSource
from service.contract.runtime.opening import Runtime

folder, room, registry = Path(sys.argv[1]), int(sys.argv[2]), Registry()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + room, limits[1]))
loader = Loader([FolderSource(folder)], registry, Runtime("cpu"), max_batch=1)
loader.refresh()
print(registry.names(), dict(registry.refused), dict(registry.unavailable))
resource.setrlimit(resource.RLIMIT_AS, limits)
loader.start()
while "hungry" not in registry.names():
    pass
print(registry.names(), dict(registry.refused), dict(registry.unavailable))
loader.stop()
"""


def test_a_graph_that_there_was_no_memory_for_is_tried_again(tmp_path: Path) -> None:
    """One allocation is too large, and all others are small: the runtime itself may abort where a small one fails."""
    room = 2**29
    write_bundle(tmp_path, "modest")
    write_bundle(tmp_path, "hungry", too_many=1, hunger=room)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path), str(room)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first == "['modest'] {} {'hungry': 'forward cannot be loaded: there is not enough memory'}"
    assert last == "['hungry', 'modest'] {} {}"
