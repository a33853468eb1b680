"""What a user's cluster will do to the image, done to it: each function is one trial of a real container."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

from deploy.check.client import Answer, ask, bomb, free_port, jpeg, noise, wait_until_ready
from deploy.check.engine import Container, Engine
from deploy.check.trial import Trial

MODEL = "resnet20"
GRACE = 35  # terminationGracePeriodSeconds of the manifests

Observation = tuple[float, Answer]


@contextmanager
def serving(
    engine: Engine, image: str, *options: str, variables: Sequence[str] = ()
) -> Iterator[tuple[Container, int, float]]:
    """A ready container, its port, and the seconds from `run` to ready."""
    port = free_port()
    named = [f"CONTRAFLOW_HTTP_PORT={port}", *variables]
    flags = ["--publish", f"127.0.0.1:{port}:{port}", *(f"--env={name}" for name in named), *options]
    started = time.monotonic()
    with engine.container(image, flags) as container:
        try:
            wait_until_ready(port)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the log ends: {container.log()[-600:]}") from None
        yield container, port, time.monotonic() - started


def trial_contents(engine: Engine, image: str) -> list[Trial]:
    """What is not in the image, and who runs in it."""
    look = (
        "import importlib.util, os, shutil; "
        "print([name for name in ('torch', 'onnx', 'models', 'export') if importlib.util.find_spec(name)], "
        "[name for name in ('gcc', 'cc', 'g++', 'make') if shutil.which(name)], "
        "[name for name in os.listdir('/opt/contraflow/bin') if name.startswith('pip')], os.getuid())"
    )
    with serving(engine, image) as (container, _, _):
        found = container.execute("python", "-c", look).stdout.strip()
        written = container.execute("python", "-c", "open('/app/written', 'w')")
        temporary = container.execute("python", "-c", "open('/tmp/written', 'w')")
    refused = written.returncode != 0 and temporary.returncode != 0
    return [
        Trial("torch and onnx, compilers, pip, user id", found, "[] [] [] 10001", found == "[] [] [] 10001"),
        Trial("root and /tmp are read-only", "a write is refused" if refused else "written", "refused", refused),
    ]


def trial_start(engine: Engine, image: str) -> list[Trial]:
    """Start three times; the middle one counts. The load of the machine is named, as it decides much of it."""
    seconds, processor = [], []
    for _ in range(3):
        with serving(engine, image) as (container, _, ready_after):
            seconds.append(ready_after)
            processor.append(_processor_seconds(container))
            healthy = container.healthy()
    middle = sorted(seconds)[1]
    return [
        Trial(
            "start of the container to ready",
            f"{middle:.1f} s (middle of 3) for {min(processor):.1f} s of CPU; "
            f"load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} CPUs",
            "≤ 3 s",
            middle <= 3,
        ),
        Trial("the image's HEALTHCHECK", "healthy" if healthy else "unhealthy", "healthy", healthy),
    ]


def _processor_seconds(container: Container) -> float:
    """User and system time of the service so far."""
    fields = container.execute("cat", "/proc/1/stat").stdout.rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def trial_answers(engine: Engine, image: str) -> list[Trial]:
    """Health, a prediction, gradients of every layer, and models without an error."""
    image_bytes = jpeg(32, 32)
    with serving(engine, image) as (_, port, _):
        live = ask(port, "GET", "/health/live").status
        predicted = ask(port, "POST", f"/predict?model={MODEL}", image_bytes)
        gradients = ask_until_loaded(port, f"/diagnostics/gradients?model={MODEL}", image_bytes)
    labels = len(predicted.json()["predictions"][0]["labels"]) if predicted.status == 200 else 0
    layers = gradients.json()["layers"] if gradients.status == 200 else []
    norms = [layer["weight_gradient_norm"][0] for layer in layers]
    return [
        Trial("GET /health/live", str(live), "200", live == 200),
        Trial(
            "POST /predict",
            f"{predicted.status}, {labels} labels",
            "200, 5 labels",
            (predicted.status, labels) == (200, 5),
        ),
        Trial(
            "POST /diagnostics/gradients",
            f"{gradients.status}, {len(layers)} layers, {sum(norm > 0 for norm in norms)} norms positive",
            "200, 20 layers, 20 norms positive",
            len(norms) == 20 and min(norms) > 0,
        ),
    ]


def ask_until_loaded(port: int, path: str, body: bytes, seconds: float = 60) -> Answer:
    """Gradient graphs load behind readiness: 503 means not yet."""
    until = time.monotonic() + seconds
    while (answer := ask(port, "POST", path, body)).status == 503 and time.monotonic() < until:
        time.sleep(0.2)
    return answer


def trial_termination(engine: Engine, image: str) -> list[Trial]:
    """SIGTERM while eight clients go on asking, as a load balancer that has not noticed yet does."""
    with serving(engine, image) as (container, port, _):
        with load(port, clients=8, path=f"/predict?model={MODEL}", bodies=[jpeg(1000, 1000)]) as observations:
            time.sleep(2)
            signalled = time.monotonic()
            container.stop(GRACE)
            stopped = time.monotonic()
        state = container.state()
    answered = [(when, answer) for when, answer in observations if answer.status != 0]
    in_flight = _judged(observations, lambda when: when < signalled)
    # What began after SIGTERM: served while draining, then told to go elsewhere, then nobody listens.
    last_answer = max((when for when, _ in answered), default=signalled)
    after = _judged(observations, lambda when: signalled <= when <= last_answer)
    bad = [
        answer
        for when, answer in observations
        if answer.status != 200 and not (answer.status == 503 and answer.retry_after) and when <= last_answer
    ]
    return [
        Trial("requests begun before SIGTERM", in_flight, "all 200", in_flight == f"{_count(in_flight)} × 200"),
        Trial("requests begun after SIGTERM, while it listens", after, "200, or 503 with Retry-After", not bad),
        Trial(
            "exit after SIGTERM under load",
            f"code {state['ExitCode']} after {stopped - signalled:.1f} s",
            f"code 0 within {GRACE} s",
            state["ExitCode"] == 0 and stopped - signalled < GRACE,
        ),
    ]


@contextmanager
def load(port: int, clients: int, path: str, bodies: Sequence[bytes]) -> Iterator[list[Observation]]:
    """Closed-loop clients, each with one of `bodies` in turn; the list holds (when a request began, its answer).

    The list is complete on leaving.
    """
    observations: list[Observation] = []
    over = threading.Event()

    def client(body: bytes) -> None:
        while not over.is_set():
            began = time.monotonic()
            answer = ask(port, "POST", path, body)
            observations.append((began, answer))
            if answer.status == 0:
                time.sleep(0.05)

    threads = [threading.Thread(target=client, args=(body,), daemon=True) for body in islice(cycle(bodies), clients)]
    for thread in threads:
        thread.start()
    try:
        yield observations
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _judged(observations: Sequence[Observation], chosen: Callable[[float], bool]) -> str:
    counts = Counter(answer.status for when, answer in observations if chosen(when))
    return ", ".join(f"{count} × {status}" for status, count in sorted(counts.items())) or "none"


def _count(judged: str) -> str:
    return judged.split(" ", 1)[0]


def trial_memory_limits(engine: Engine, image: str) -> list[Trial]:
    """Floods of three kinds; 512 MiB is what the manifests ask for, 1 GiB their limit."""
    photographs, noisy, bombs = jpeg(4000, 3000), noise(4000, 3000), bomb(4000, 4000)
    return [
        _flooded(engine, image, "512m", "12-megapixel photographs", [photographs]),
        _flooded(engine, image, "512m", f"photographs of {len(noisy) / 1e6:.0f} MB", [noisy]),
        _flooded(
            engine, image, "1g", f"{len(noisy) / 1e6:.0f} MB photographs and 16-megapixel WebP bombs", [noisy, bombs]
        ),
    ]


def _flooded(engine: Engine, image: str, limit: str, what: str, bodies: Sequence[bytes], clients: int = 40) -> Trial:
    """Many more of `bodies` at a time than are decoded or held at once, for 15 s, under a memory limit."""
    with serving(engine, image, f"--memory={limit}", f"--memory-swap={limit}") as (container, port, _):
        with load(port, clients, f"/predict?model={MODEL}", bodies) as observations:
            time.sleep(15)
        live = ask(port, "GET", "/health/live").status
        peak = _peak_memory(container)
        state = container.state()
    statuses = _judged(observations, lambda _: True)
    killed = bool(state.get("OOMKilled")) or state["Status"] != "running"
    expected = {answer.status for _, answer in observations} <= {200, 503, 504}
    return Trial(
        f"{clients} clients send {what} under a {limit} limit",
        f"{statuses}; peak {peak}; {'killed' if killed else 'not killed'}; live {live}",
        "200, 503 or 504, not killed, live",
        expected and not killed and live == 200,
    )


def _peak_memory(container: Container) -> str:
    """Of the container's control group (v2, else v1); needs a kernel that keeps count."""
    for path in ("/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes"):
        read = container.execute("cat", path)
        if read.returncode == 0:
            return f"{int(read.stdout) / 1e6:.0f} MB with page cache"
    return "not counted by this kernel"


def trial_cpu_limit(engine: Engine, image: str) -> list[Trial]:
    """The number of threads follows the container's quota, not the host's processors."""
    limited, unlimited = (_threads(engine, image, option) for option in ("--cpus=1", "--cpus=0"))
    return [
        Trial(
            "threads with a limit of 1 CPU, and without one",
            f"{limited} and {unlimited}",
            "fewer with the limit",
            limited < unlimited,
        )
    ]


def _threads(engine: Engine, image: str, option: str) -> int:
    """Threads of the service while it is busy (pools start their threads on demand)."""
    path, photographs = f"/predict?model={MODEL}", [jpeg(1000, 1000)]
    with serving(engine, image, option) as (container, port, _), load(port, 8, path, photographs):
        time.sleep(2)
        status = container.execute("cat", "/proc/1/status").stdout
    found = re.search(r"^Threads:\s*(\d+)$", status, re.MULTILINE)
    assert found is not None
    return int(found.group(1))


def trial_wrong_bundle(engine: Engine, image: str, bundles: Path) -> list[Trial]:
    """A folder with a good bundle, one whose weights were altered, and one that is no bundle."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = Path(folder)
        mounted.chmod(0o755)
        shutil.copytree(bundles / MODEL, mounted / MODEL)
        shutil.copytree(bundles / MODEL, mounted / "altered")
        (weights,) = (mounted / "altered").rglob("weights.bin")
        altered = bytearray(weights.read_bytes())
        altered[len(altered) // 2] ^= 1
        weights.write_bytes(altered)
        (mounted / "empty").mkdir()
        (mounted / "empty" / "bundle.json").write_text("{}")
        with serving(engine, image, "--volume", f"{folder}:/bundles:ro") as (container, port, _):
            served = ask(port, "POST", f"/predict?model={MODEL}", jpeg(32, 32)).status
            listed = ask(port, "GET", "/models").body.decode()
            log = container.log()
    told = [line for line in log.splitlines() if "altered" in line or "empty" in line]
    said = "altered" in listed and "empty" in listed
    return [
        Trial("the good bundle beside two wrong ones", str(served), "200", served == 200),
        Trial(
            "the wrong ones are named with their reasons",
            f"{'in' if said else 'not in'} /models, {len(told)} log lines",
            "in /models and the log",
            said and len(told) >= 2,
        ),
    ]
