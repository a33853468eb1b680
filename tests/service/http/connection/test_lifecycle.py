"""Reload, rollback and shutdown: no request fails, and no answer mixes versions."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from service.bundles.disk import read_bundle
from service.machine.priority import BEHIND
from tests.service.live_server import (
    PATIENCE_SECONDS,
    LiveServer,
    best_label,
    is_ready,
    picture,
    running,
    wait_until,
)
from tests.service.tiny_bundles import write_bundle

ROOT = Path(__file__).parents[4]
RED = picture("red")


def install(source: Path, folder: Path) -> None:
    """Replace a bundle as deployments do: copy it beside the old one, then rename it into place."""
    beside = folder.parent / f".{folder.name}.new"
    shutil.copytree(source, beside)
    if folder.exists():
        folder.rename(folder.parent / f".{folder.name}.old")
    beside.rename(folder)
    shutil.rmtree(folder.parent / f".{folder.name}.old", ignore_errors=True)


def look(server: LiveServer) -> None:
    """Do now what the loader does every `bundle_poll_seconds`."""
    server.state.loader.refresh()


def test_a_changed_bundle_replaces_the_old_one_and_a_broken_one_does_not(tmp_path: Path) -> None:
    folder, store = tmp_path / "bundles", tmp_path / "store"
    folder.mkdir()
    install(write_bundle(store / "a", "tiny"), folder / "tiny")
    with running(folder) as server, server.client() as client:
        assert best_label(client.post("/predict", content=RED)) == "red"
        install(write_bundle(store / "b", "tiny", bias=(0.0, 0.0, 100.0)), folder / "tiny")
        look(server)
        assert best_label(client.post("/predict", content=RED)) == "blue"
        (folder / "tiny" / "forward.onnx").write_bytes(b"spoiled")
        look(server)
        assert best_label(client.post("/predict", content=RED)) == "blue"
        assert "was changed" in client.get("/models").json()["refused"]["tiny"]
        write_bundle(folder, "second")
        look(server)
        assert best_label(client.post("/predict", params={"model": "second"}, content=RED)) == "red"
        shutil.rmtree(folder / "tiny")
        look(server)
        assert client.post("/predict", params={"model": "tiny"}, content=RED).status_code == 404


@pytest.mark.parametrize(("wanted", "state"), [(False, "unloaded"), (True, "ready")])
def test_graphs_for_diagnostics_are_loaded_at_the_start_if_the_settings_say_so(
    tmp_path: Path, wanted: bool, state: str
) -> None:
    graph = {"file": "forward.onnx", "inputs": ("input",), "outputs": ("logits",)}
    write_bundle(tmp_path, "tiny", graphs={"forward": graph, "activations": graph})
    with running(tmp_path, diagnostics_at_start=wanted) as server:
        served = server.state.registry.select("tiny").graph("activations")
        wait_until(lambda: served.state == state)
        server.state.loader.stop()  # after which nothing more is loaded
        assert served.state == state


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_loading_gives_way_to_predictions_once_they_are_served(tmp_path: Path) -> None:
    graph = {"file": "forward.onnx", "inputs": ("input",), "outputs": ("logits",)}
    write_bundle(tmp_path, "tiny", graphs={"forward": graph, "weight_norms": graph})
    others = set(threading.enumerate())

    def priorities(prefix: str) -> set[int]:
        """Return the priorities that the kernel gives to this server's threads of that name."""
        ours = [one for one in threading.enumerate() if one not in others and one.name.startswith(prefix)]
        return {os.getpriority(os.PRIO_PROCESS, one.native_id or 0) for one in ours}

    with running(tmp_path, bundle_poll_seconds=60.0) as server, server.client() as client:
        wait_until(lambda: priorities("loader") == {BEHIND})
        client.post("/diagnostics/gradients", content=RED)  # loads its graph in a thread of its own
        assert priorities("load_") == {BEHIND}
        assert priorities("run-") == {0}


def test_the_folder_is_watched(tmp_path: Path) -> None:
    write_bundle(tmp_path, "first")
    with running(tmp_path, bundle_poll_seconds=0.05) as server, server.client() as client:
        write_bundle(tmp_path, "second")
        wait_until(lambda: client.post("/predict", params={"model": "second"}, content=RED).status_code == 200)


def test_no_answer_fails_or_mixes_versions_while_bundles_are_swapped(tmp_path: Path) -> None:
    folder, store = tmp_path / "bundles", tmp_path / "store"
    folder.mkdir()
    sources = [
        write_bundle(store / "red", "tiny"),
        write_bundle(store / "blue", "tiny", bias=(0.0, 0.0, 100.0)),
    ]
    label_of = {read_bundle(source).digest: label for source, label in zip(sources, ("red", "blue"), strict=True)}
    install(sources[0], folder / "tiny")
    seen: list[tuple[str, str]] = []
    stop = threading.Event()

    def ask(server: LiveServer, keep_connection: bool) -> None:
        while not stop.is_set():
            with server.client() as client:
                for _ in range(20 if keep_connection else 1):
                    answer = client.post("/predict", content=RED)
                    seen.append((answer.json()["bundle"], best_label(answer)))

    with running(folder, warm_up=False) as server:
        clients = [threading.Thread(target=ask, args=(server, keep)) for keep in (True, False)]
        for client in clients:
            client.start()
        for number in range(12):
            install(sources[(number + 1) % 2], folder / "tiny")
            look(server)
        stop.set()
        for client in clients:
            client.join()
        assert server.state.ledger.requests.keys() == {"answered"}
    assert {label for _, label in seen} == {"red", "blue"}
    assert all(label_of[bundle] == label for bundle, label in seen)


def test_retired_models_leave_nothing_behind(tmp_path: Path) -> None:
    import gc
    import weakref

    write_bundle(tmp_path, "tiny")
    with running(tmp_path) as server, server.client() as client:
        client.post("/predict", content=RED)
        retired = weakref.ref(server.state.registry.select("tiny"))
        write_bundle(tmp_path, "tiny", bias=(1.0, 2.0, 3.0))
        look(server)
        client.post("/predict", content=RED)

        def is_gone() -> bool:
            gc.collect()
            return retired() is None

        wait_until(is_gone)


# ------------------------------------------------ a process of its own


@contextmanager
def process(folder: Path, *flags: str, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "service", "--bundles", str(folder), "--http-port", str(port), *flags]
    served = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment}, stderr=subprocess.PIPE)
    try:
        yield served, port
    finally:
        served.kill()
        served.communicate()


def test_the_start_says_what_is_served_and_sigterm_drains_and_ends_with_status_0(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with process(tmp_path, "--drain-delay", "5") as (served, port):
        wait_until(lambda: is_ready(f"http://127.0.0.1:{port}"))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as kept:
            assert best_label(kept.post("/predict", content=RED)) == "red"
            served.send_signal(signal.SIGTERM)
            wait_until(lambda: not is_ready(f"http://127.0.0.1:{port}"))
            last = kept.post("/predict", content=RED)
            assert best_label(last) == "red"
            assert last.headers["connection"] == "close"
            fresh = httpx.post(f"http://127.0.0.1:{port}/predict", content=RED, timeout=PATIENCE_SECONDS)
            assert best_label(fresh) == "red"
        log = served.communicate(timeout=PATIENCE_SECONDS)[1].decode()
        assert served.returncode == 0
    said = ("models: tiny", "tiny@1 forward is ready", "execution provider: CPUExecutionProvider")
    for words in (f"http://127.0.0.1:{port}", *said):
        assert words in log


def test_a_request_in_flight_is_finished_before_the_end(tmp_path: Path) -> None:
    write_bundle(tmp_path, "slow", rounds=1000)
    flags = ("--drain-delay", "0", "--warm-up", "false")
    with (
        process(tmp_path, *flags) as (served, port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        wait_until(lambda: is_ready(str(client.base_url)))
        asked: list[Future[httpx.Response]] = []

        def one_runs() -> bool:
            """Ask again if the run was over before this looked."""
            if not asked or asked[-1].done():
                asked.append(
                    pool.submit(httpx.post, client.base_url.join("/predict"), content=RED, timeout=PATIENCE_SECONDS)
                )
            return "contraflow_runs_in_progress 1.0" in client.get("/metrics").text

        wait_until(one_runs)
        served.send_signal(signal.SIGTERM)
        assert [best_label(one.result()) for one in asked] == ["red"] * len(asked)
        assert served.wait(PATIENCE_SECONDS) == 0


def test_a_second_sigterm_ends_at_once(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with process(tmp_path, "--drain-delay", "600") as (served, port):
        wait_until(lambda: is_ready(f"http://127.0.0.1:{port}"))
        served.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_ready(f"http://127.0.0.1:{port}"))
        time.sleep(0.25)
        served.send_signal(signal.SIGTERM)
        assert served.wait(PATIENCE_SECONDS) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        (["--execution-provider", "cuda"], {}, "execution_provider=cuda, but"),
        ([], {"CONTRAFLOW_MODELS": "x"}, "unknown variable CONTRAFLOW_MODELS"),
        (["--max-images", "0"], {}, "max_images"),
    ],
)
def test_a_start_that_cannot_be_what_was_asked_for_is_refused(
    tmp_path: Path, flags: list[str], environment: dict[str, str], words: str, request: pytest.FixtureRequest
) -> None:
    if "cuda" in flags:
        request.getfixturevalue("without_cuda")
    with process(tmp_path, *flags, **environment) as (served, _):
        log = served.communicate(timeout=PATIENCE_SECONDS)[1].decode()
        assert served.returncode != 0
    assert words in log
    assert "Traceback" not in log
