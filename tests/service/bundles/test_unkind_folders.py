"""Errors of the file system: none of them takes a served model away, and each is reported."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.bundles.folder import Look, look_at
from service.output.printable import printable
from tests.service.bundles.unkind_process import close_to_others, obey_permissions, open_again
from tests.service.live_server import LiveServer, best_label, held_start, picture, running, wait_until
from tests.service.tiny_bundles import write_bundle

ROOT = Path(__file__).parents[3]
RED = picture("red")
BIASES = {"red": (0.0, 0.0, 0.0), "blue": (0.0, 0.0, 100.0)}


def look(server: LiveServer) -> None:
    server.state.loader.refresh()


def predict(client: httpx.Client, model: str | None = None) -> httpx.Response:
    return client.post("/predict", params={"model": model} if model else {}, content=RED)


def metric(client: httpx.Client, name: str) -> float:
    return next(float(line.split()[1]) for line in client.get("/metrics").text.splitlines() if line.startswith(name))


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Let this process open nothing: its limit of descriptors is below the next free one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ------------------------------------------------ kinds of file that are no bundle


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        where = os.open(path.parent, os.O_RDONLY)  # a socket's own path may have 107 bytes only
        listener.bind(f"/proc/self/fd/{where}/{path.name}")
        os.close(where)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def endless(path: Path) -> None:
    path.write_bytes(b'{"name": "' + b"x" * 2**24)


def nested(path: Path) -> None:
    path.write_text("[" * 100_000)


def described(**overrides: Any) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | overrides))


REFUSED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a FIFO for its description": ("bundle.json", fifo, "bundle.json is no plain file"),
    "a socket for its description": ("bundle.json", bound_socket, "bundle.json is no plain file"),
    "a device for its description": ("bundle.json", device, "bundle.json is no plain file"),
    "a directory for its description": ("bundle.json", directory, "bundle.json is no plain file"),
    "a FIFO for its graph": ("forward.onnx", fifo, "forward.onnx is no plain file"),
    "a device for its graph": ("forward.onnx", device, "forward.onnx is no plain file"),
    "a directory for its graph": ("forward.onnx", directory, "forward.onnx is no plain file"),
    "a description without end": ("bundle.json", endless, "bundle.json has more than 16,777,216 bytes"),
    "brackets without end": ("bundle.json", nested, "bundle.json is not valid"),
    "no UTF-8": ("bundle.json", lambda path: path.write_bytes(b'{"name": "\xff"}'), "bundle.json is not valid"),
    "NUL in a file's name": (
        "bundle.json",
        described(sha256={"forward.onnx": "0", "forward\0.onnx": "0"}),
        r"'forward\\x00.onnx' is no name of a file",
    ),
    "a line break in a file's name": (
        "bundle.json",
        described(sha256={"forward.onnx": "0", "two\nlines": "0"}),
        r"'two\\nlines' is no name of a file",
    ),
    "a name longer than a file's": (
        "bundle.json",
        described(sha256={"forward.onnx": "0", "x" * 256: "0"}),
        "is no name of a file",
    ),
    "the folder above as a file": (
        "bundle.json",
        described(sha256={"forward.onnx": "0", "..": "0"}),
        "the file name '..' leads out of the bundle",
    ),
    "a line break in a field that is not known": (
        "bundle.json",
        described(**{"two\nlines": 1}),
        r"bundle.json is not valid: two\nlines",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_bundle_is_refused_with_its_reason_and_the_others_are_served(tmp_path: Path, kind: str) -> None:
    name, spoil, reason = REFUSED[kind]
    write_bundle(tmp_path, "good")
    spoil(write_bundle(tmp_path, "bad") / name)
    with running(tmp_path) as server, server.client() as client:
        assert best_label(predict(client)) == "red"
        listing = client.get("/models").json()
        assert list(listing["refused"]) == ["bad"]
        assert listing["refused"]["bad"].startswith(reason) or reason in listing["refused"]["bad"]
        assert listing["unavailable"] == {}
        assert client.get("/health/ready").status_code == 200
        shutil.rmtree(tmp_path / "bad")
        write_bundle(tmp_path, "bad")
        look(server)
        assert best_label(predict(client, "bad")) == "red"


@pytest.mark.parametrize("name", [b"no-utf8-\xff", b"two\nlines", b"tab\there", "größe".encode()])
def test_a_folder_of_any_name_breaks_no_answer(tmp_path: Path, name: bytes) -> None:
    write_bundle(tmp_path, "good")
    os.rename(write_bundle(tmp_path, "strange"), os.fsencode(tmp_path) + b"/" + name)
    with running(tmp_path) as server, server.client() as client:
        listing = client.get("/models").json()
        (shown,) = listing["refused"]
        assert shown == printable(os.fsdecode(name))
        assert "its folder is not called" in listing["refused"][shown]
        assert shown in [entry["name"] for entry in client.post("/v2/repository/index").json()]
        assert metric(client, "contraflow_bundles_refused") == 1
        assert best_label(predict(client)) == "red"


def test_names_are_written_on_one_line_of_valid_unicode() -> None:
    assert printable(os.fsdecode(b"a\xffb")) == r"a\xffb"
    assert printable("two\nlines") == r"two\nlines"
    assert printable("\ud800") == r"\ud800"
    assert printable("größe") == "größe"
    assert printable("x" * 400) == "x" * 299 + "…"


def test_only_plain_digits_are_versions(tmp_path: Path) -> None:
    for version in ("2", "10"):
        write_bundle(tmp_path, "net", version=version)
    for name in ("²", "٣", "1e3", "-1", "0x1"):
        shutil.copytree(tmp_path / "net" / "2", tmp_path / "net" / name)
    assert [path.name for path in look_at(tmp_path).bundles] == ["2", "10"]


# ------------------------------------------------ the system will not say


def test_nothing_is_retired_while_no_descriptor_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path) as server, server.client() as client:
        assert best_label(predict(client)) == "red"
        with no_descriptors_left():
            look(server)
            look(server)
        listing = client.get("/models").json()
        assert listing["unavailable"] == {".": "Too many open files"}
        assert [model["name"] for model in listing["models"]] == ["tiny"]
        assert metric(client, "contraflow_bundles_unavailable") == 1
        assert best_label(predict(client)) == "red"
        assert predict(client, "unknown").status_code == 503  # who knows?
        assert client.get("/health/ready").status_code == 200
        look(server)
        assert client.get("/models").json()["unavailable"] == {}
        assert predict(client, "unknown").status_code == 404
    warned = [record.getMessage() for record in caplog.records if "Too many open files" in record.getMessage()]
    assert len(warned) == 1  # once per change, not once per look


def test_a_bundle_that_is_replaced_while_the_folder_is_looked_at_is_never_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment moves the old bundle away, then the new one into place; the loader looks between the moves."""
    bundle = write_bundle(tmp_path, "tiny")
    new = write_bundle(tmp_path / ".new", "tiny", bias=BIASES["blue"])
    with running(tmp_path) as server, server.client() as client:
        names: list[list[str]] = []

        def looked_at_between(folder: Path) -> Look:
            look = look_at(folder)
            if new.exists():
                new.rename(bundle)
            names.append(server.state.registry.names())
            return look

        monkeypatch.setattr("service.bundles.following.look_at", looked_at_between)
        shutil.rmtree(bundle)
        look(server)
        assert names == [["tiny"], ["tiny"]]
        assert best_label(predict(client, "tiny")) == "blue"
        shutil.rmtree(bundle)
        look(server)
        assert predict(client, "tiny").status_code == 404


def test_a_folder_that_vanishes_is_served_on_until_it_is_back(tmp_path: Path) -> None:
    folder, away = tmp_path / "bundles", tmp_path / "away"
    write_bundle(folder, "tiny")
    with running(folder) as server, server.client() as client:
        folder.rename(away)
        look(server)
        assert client.get("/models").json()["unavailable"] == {".": "No such file or directory"}
        assert best_label(predict(client)) == "red"
        away.rename(folder)
        write_bundle(folder, "second")
        look(server)
        assert client.get("/models").json()["unavailable"] == {}
        assert best_label(predict(client, "second")) == "red"


def test_an_empty_folder_on_another_file_system_is_an_unmount_and_on_the_same_a_removal(tmp_path: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    mounted, empty, folder = tmp_path / "mounted", tmp_path / "empty", tmp_path / "bundles"
    write_bundle(mounted, "tiny")
    empty.mkdir()
    other_device = elsewhere / f"contraflow-test-{os.getpid()}"
    other_device.mkdir()
    try:
        folder.symlink_to(mounted)
        with running(folder) as server, server.client() as client:
            folder.unlink()
            folder.symlink_to(other_device)
            look(server)
            assert best_label(predict(client)) == "red"
            assert "unmount" in client.get("/models").json()["unavailable"]["."]
            folder.unlink()
            folder.symlink_to(empty)
            look(server)
            assert predict(client).status_code == 404
            assert client.get("/models").json()["unavailable"] == {}
    finally:
        other_device.rmdir()


def test_a_folder_that_cannot_be_listed_at_first_is_looked_at_again_even_without_polling(tmp_path: Path) -> None:
    """`python -m service` would not start; the folder may also go between its start and the loader's first look."""
    folder = tmp_path / "bundles"
    folder.symlink_to(folder)
    told = "The folder of bundles cannot be read: Too many levels of symbolic links."
    with running(folder, loaded=False, bundle_poll_seconds=0) as server, server.client() as client:
        wait_until(lambda: told in client.get("/health/ready").text)
        assert client.get("/health/ready").status_code == 503
        answer = predict(client)
        assert (answer.status_code, answer.json()["detail"]) == (503, told)
        folder.unlink()
        write_bundle(folder, "tiny")
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        assert best_label(predict(client)) == "red"


@pytest.mark.parametrize(
    ("target", "reason"),
    [("net", "Too many levels of symbolic links"), ("/nowhere/at/all", "its symbolic link leads nowhere")],
    ids=["loop", "nowhere"],
)
def test_a_link_that_cannot_be_followed_retires_nothing(tmp_path: Path, target: str, reason: str) -> None:
    folder, real = tmp_path / "bundles", tmp_path / "real"
    write_bundle(real, "net")
    folder.mkdir()
    (folder / "net").symlink_to(real / "net")
    with running(folder) as server, server.client() as client:
        (folder / "net").unlink()
        (folder / "net").symlink_to(target)
        look(server)
        assert client.get("/models").json()["unavailable"] == {"net": reason}
        assert best_label(predict(client, "net")) == "red"
        (folder / "net").unlink()  # now it is gone
        look(server)
        assert client.get("/models").json()["unavailable"] == {}
        assert predict(client, "net").status_code == 404


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("bundle.json", "Too many levels of symbolic links"),
        ("/nowhere/at/all", "bundle.json: its symbolic link leads nowhere"),
    ],
    ids=["loop", "nowhere"],
)
def test_why_the_link_to_a_description_cannot_be_followed_is_said_as_it_is(
    tmp_path: Path, target: str, reason: str
) -> None:
    write_bundle(tmp_path, "net")
    with running(tmp_path) as server, server.client() as client:
        (tmp_path / "net" / "bundle.json").unlink()
        (tmp_path / "net" / "bundle.json").symlink_to(target)
        look(server)
        assert client.get("/models").json()["unavailable"] == {"net": reason}
        assert best_label(predict(client, "net")) == "red"


def test_a_file_that_gives_an_input_output_error_is_no_refusal(tmp_path: Path) -> None:
    """Reading /proc/self/mem at its start is EIO, and it is a plain file to everyone who asks."""
    write_bundle(tmp_path, "good")
    new = write_bundle(tmp_path, "new")
    content = (new / "forward.onnx").read_bytes()
    (new / "forward.onnx").unlink()
    (new / "forward.onnx").symlink_to("/proc/self/mem")
    with running(tmp_path) as server, server.client() as client:
        listing = client.get("/models").json()
        assert listing["refused"] == {}
        assert listing["unavailable"] == {"new": "forward.onnx cannot be read: Input/output error"}
        answer = predict(client, "new")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.get("/health/ready").status_code == 200
        index = client.post("/v2/repository/index").json()
        assert [entry["state"] for entry in index if entry["name"] == "new"] == ["UNAVAILABLE"]
        (new / "forward.onnx").unlink()
        (new / "forward.onnx").write_bytes(content)
        look(server)
        assert best_label(predict(client, "new")) == "red"


def test_a_file_that_cannot_be_read_for_a_request_is_a_503_and_asked_for_again(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models" / "bundles" / "resnet20", tmp_path / "resnet20")
    reference = tmp_path / "resnet20" / "reference.npz"
    image = (ROOT / "tests" / "images" / "ship.jpg").read_bytes()
    with running(tmp_path, warm_up=False) as server, server.client() as client:
        content = reference.read_bytes()
        reference.unlink()
        reference.symlink_to("/proc/self/mem")
        answer = client.post("/diagnostics/scores", content=image)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "Input/output error" in answer.json()["detail"]
        graph = tmp_path / "resnet20" / "activations.onnx"
        kept = graph.read_bytes()
        graph.unlink()
        graph.symlink_to("/proc/self/mem")
        answer = client.post("/diagnostics/features", content=image)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "Input/output error" in answer.json()["detail"]
        for path, bytes_of in ((reference, content), (graph, kept)):
            path.unlink()
            path.write_bytes(bytes_of)
        assert client.post("/diagnostics/scores", content=image).status_code == 200
        wait_until(lambda: client.post("/diagnostics/features", content=image).status_code == 200)


def mounted(volume: Path, revision: str, source: Path) -> None:
    """Replace all content by swapping one link, as the kubelet does with a ConfigMap or a projected volume."""
    shutil.copytree(source, volume / f"..{revision}")
    (volume / "..data_tmp").symlink_to(f"..{revision}")
    (volume / "..data_tmp").rename(volume / "..data")
    for entry in source.iterdir():
        if not (volume / entry.name).is_symlink():
            (volume / entry.name).symlink_to(f"..data/{entry.name}")


@pytest.mark.parametrize("whole_folder", [False, True], ids=["a bundle", "the folder of bundles"])
def test_a_mounted_volume_of_links_is_followed(tmp_path: Path, whole_folder: bool) -> None:
    folder = tmp_path / "bundles"
    red, blue = (write_bundle(tmp_path / name, "net", bias=bias) for name, bias in BIASES.items())
    volume = folder if whole_folder else folder / "net"
    volume.mkdir(parents=True)
    mounted(volume, "1", red.parent if whole_folder else red)
    with running(folder) as server, server.client() as client:
        assert best_label(predict(client, "net")) == "red"
        mounted(volume, "2", blue.parent if whole_folder else blue)
        look(server)
        assert best_label(predict(client, "net")) == "blue"
        shutil.rmtree(volume / "..1")
        look(server)
        listing = client.get("/models").json()
        assert (listing["refused"], listing["unavailable"], len(listing["models"])) == ({}, {}, 1)


# ------------------------------------------------ permissions, in a process to which they apply


@contextmanager
def service(folder: Path, *flags: str) -> Iterator[httpx.Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "service", "--bundles", str(folder), "--http-port", str(port), *flags]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, preexec_fn=obey_permissions)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            wait_until(lambda: _is_live(client), 60)
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
from service.bundles.disk import read_bundle
from service.bundles.loading import Loader
from service.bundles.registry import Registry
from service.contract.runtime import Runtime

folder, runtime, registry = Path(sys.argv[1]), Runtime("cpu"), Registry()
loader = Loader(folder, registry, runtime, max_batch=1)
for name in ("warm", "large"):  # what is set up once is not what is short
    read_bundle(folder / name)
runtime.open(folder / "warm" / "forward.onnx")
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (used + 2**21, limits[1]))
loader.refresh()
resource.setrlimit(resource.RLIMIT_AS, limits)
print(registry.names(), dict(registry.refused), dict(registry.unavailable))
loader.start()
while "large" not in registry.names():
    pass
print(registry.names(), dict(registry.refused), dict(registry.unavailable))
loader.stop()
"""


def test_a_graph_that_there_was_no_memory_for_is_tried_again(tmp_path: Path) -> None:
    write_bundle(tmp_path, "warm")
    shutil.copytree(ROOT / "models" / "bundles" / "resnet56", tmp_path / "large")
    description = json.loads((tmp_path / "large" / "bundle.json").read_text()) | {"name": "large"}
    (tmp_path / "large" / "bundle.json").write_text(json.dumps(description))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first == "['warm'] {} {'large': 'forward cannot be loaded: there is not enough memory'}"
    assert last == "['large', 'warm'] {} {}"


# ------------------------------------------------ the loader's thread


def strike(thread: threading.Thread, error: type[BaseException]) -> None:
    """Raises `error` in `thread`, at its next step."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(error))


def test_an_exception_in_a_round_is_counted_and_the_next_round_comes(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, bundle_poll_seconds=0.05) as server, server.client() as client:
        strike(server.state.loader._thread, ValueError)
        wait_until(lambda: metric(client, "contraflow_loader_errors_total") == 1)
        write_bundle(tmp_path, "second")
        wait_until(lambda: predict(client, "second").status_code == 200)
        assert client.get("/health/live").status_code == 200


def test_a_start_that_fails_on_its_way_is_begun_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_bundle(tmp_path, name)
    with held_start(tmp_path, "models: ") as (server, gate), server.client() as client:
        strike(server.state.loader._thread, ValueError)
        gate.let_go()
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        assert server.state.loader.errors == 1
        assert [best_label(predict(client, name)) for name in ("a", "b")] == ["red", "red"]


def test_a_loader_that_has_ended_all_the_same_is_not_live(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, bundle_poll_seconds=0.05) as server, server.client() as client:
        strike(server.state.loader._thread, SystemExit)
        server.state.loader._thread.join(10)
        answer = client.get("/health/live")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:contraflow:problem:loader-ended")
        assert answer.json()["detail"] == "The loader of bundles has ended: SystemExit."
        assert client.get("/v2/health/live").status_code == 503
        assert best_label(predict(client)) == "red"
