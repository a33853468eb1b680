"""One line for every request, in text and in JSON, whatever comes over the socket."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.monitoring import request_log
from service.output.logs import JsonFormatter, TextFormatter
from tests.service.held_runs import held_runs
from tests.service.live_server import PATIENCE_SECONDS, LiveServer, best_label, is_ready, picture, running, wait_until
from tests.service.raw_http import CLOSE, get, head, post, talk
from tests.service.tiny_bundles import write_bundle

ROOT = Path(__file__).parents[3]
RED = picture("red")
SECRET = "one-two-three"
KEY = f"Authorization: Bearer {SECRET}"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACE = f"traceparent: 00-{TRACE_ID}-00f067aa0ba902b7-01"
WEBSOCKET = ("Connection: Upgrade, close", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==")
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256))


class Lines(logging.Handler):
    """Lines of the log about requests, in both forms; servers of other tests load graphs meanwhile, and say so."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(lambda record: record.name != "contraflow.bundles")
        self._text, self._json = TextFormatter(), JsonFormatter()
        self.texts: list[str] = []
        self.entries: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self._text.format(record))
        self.entries.append(json.loads(self._json.format(record)))

    def one(self) -> tuple[str, dict[str, Any]]:
        """Return the only line, once it is there."""
        wait_until(lambda: self.entries)
        assert len(self.entries) == 1, self.texts
        return self.texts[0].partition("contraflow.request: ")[2], self.entries[0]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    write_bundle(folder, "picky", fails_on_white=True)
    digests = (f"sha256:{hashlib.sha256(SECRET.encode()).hexdigest()}",)
    with running(folder, default_model="tiny", api_keys=digests, log_top_label=True, request_timeout=3) as server:
        yield server


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    monkeypatch.setattr(request_log, "MOST_PER_SECOND", 1000)
    handler, log = Lines(), logging.getLogger()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)
    log.setLevel(level)
    assert not any(SECRET in line for line in handler.texts)


def test_a_prediction_has_a_line_of_text_and_one_of_json(server: LiveServer, lines: Lines) -> None:
    message = post(RED, KEY, TRACE, "X-Request-Id: mine", CLOSE, path="/predict?model=tiny&top_k=1")
    (answer,) = talk(server, [message])
    assert (answer.headers["x-request-id"], answer.headers["traceparent"]) == ("mine", TRACE.partition(": ")[2])
    text, entry = lines.one()
    assert re.fullmatch(
        r"POST /predict\?model=tiny&top_k=1 200 answered \d+\.\d{3}ms model=tiny@1 batch=1 decode=\d+\.\d{3} "
        rf"queue=\d+\.\d{{3}} run=\d+\.\d{{3}} serialize=\d+\.\d{{3}} in={len(RED)} out={len(answer.body)} "
        rf"client=127\.0\.0\.1 id=mine trace={TRACE_ID} top=red",
        text,
    )
    stages = ("decode_ms", "queue_ms", "run_ms", "serialize_ms")
    assert sum(entry.pop(stage) for stage in stages) == pytest.approx(entry.pop("total_ms"), abs=0.005)
    del entry["time"]
    assert entry == {
        "level": "info",
        "logger": "contraflow.request",
        "message": "POST /predict 200",
        "request_id": "mine",
        "method": "POST",
        "path": "/predict",
        "query": "model=tiny&top_k=1",
        "route": "/predict",
        "model": "tiny@1",
        "status": 200,
        "outcome": "answered",
        "received_bytes": len(RED),
        "sent_bytes": len(answer.body),
        "client": "127.0.0.1",
        "batch_size": 1,
        "trace_id": TRACE_ID,
        "span_id": "00f067aa0ba902b7",
        "top_labels": ["red"],
    }


REFUSED: dict[str, tuple[bytes, str, dict[str, Any]]] = {
    "nothing there": (
        get("/no/such?api_key=one-two-three&x=1", KEY, CLOSE),
        '"/no/such?api_key=…&x=1" 404 refused',
        {"path": "/no/such", "query": "api_key=…&x=1", "route": "other", "status": 404, "error": "not-found"},
    ),
    "no key": (post(RED, CLOSE), "/predict 401 refused", {"status": 401, "error": "unauthorized"}),
    "a path that looks like other fields": (
        get("/x%20200%20answered%0A%22id=1", KEY, CLOSE),
        r'GET "/x 200 answered\\n\"id=1" 404 refused',
        {"path": '/x 200 answered\\n"id=1', "status": 404},
    ),
    "a head that is not valid": (
        head("POST /predict?token=one-two-three", "X-Request-Id: mine", TRACE, host="Host: a b"),
        'POST "/predict?token=…" 400 refused',
        {"path": "/predict", "status": 400, "error": "malformed-request", "request_id": "mine", "trace_id": TRACE_ID},
    ),
    "a target with a password": (
        head("GET ftp://user:one-two-three@x/"), "GET - 400 refused", {"path": "-", "status": 400},
    ),
    "no HTTP": (b"\0\1\2\r\n\r\n", "- - 400 refused", {"method": "-", "path": "-", "error": "malformed-request"}),
    "TLS": (TLS_HELLO, "- - 400", {"detail": "This looks like TLS; this port speaks plain HTTP."}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 refused", {"error": "version-not-supported"}),
    "a body that is no picture": (
        post(b"no picture", KEY, CLOSE), "POST /predict 415 refused", {"model": "tiny@1", "received_bytes": 10},
    ),
    "a body that never comes": (post(RED, KEY)[:-5], "408 refused", {"status": 408, "error": "slow-request"}),
    "an upgrade to WebSocket": (
        get("/predict", KEY, *WEBSOCKET), "GET /predict 405 refused", {"status": 405, "error": "method-not-allowed"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("message", "words", "values"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_has_one_line_that_says_why(
    server: LiveServer, lines: Lines, message: bytes, words: str, values: dict[str, Any]
) -> None:
    (answer,) = talk(server, [message])
    text, entry = lines.one()
    assert words in text
    assert {name: entry[name] for name in values} == values
    assert (entry["level"], entry["request_id"]) == ("info", answer.headers["x-request-id"])
    assert (entry["sent_bytes"], entry["outcome"]) == (len(answer.body), "refused")


def test_a_client_that_goes_has_a_line_and_so_have_the_requests_behind(server: LiveServer, lines: Lines) -> None:
    message = post(RED, KEY, path="/predict?model=tiny") + post(RED, KEY, "X-Request-Id: behind")
    with server.connect() as connection, held_runs(server, "tiny"):
        connection.sendall(message)
        wait_until(lambda: server.state.engine.scheduler.running)
        connection.close()
        wait_until(lambda: len(lines.entries) == 2)
    assert [(entry["status"], entry["outcome"]) for entry in lines.entries] == [(0, "cancelled")] * 2
    assert {entry["request_id"] for entry in lines.entries} >= {"behind"}
    assert "POST /predict?model=tiny - cancelled" in "\n".join(lines.texts)


def test_a_request_that_fails_is_a_warning_and_its_error_has_its_ids(server: LiveServer, lines: Lines) -> None:
    message = post(picture("white"), KEY, TRACE, "X-Request-Id: mine", CLOSE, path="/predict?model=picky")
    assert [answer.status for answer in talk(server, [message])] == [500]
    wait_until(lambda: len(lines.entries) == 3)
    of_engine, error, line = lines.entries
    assert of_engine["logger"] == "contraflow.engine"
    assert (line["level"], line["outcome"], line["error"]) == ("warning", "failed", "run-failed")
    assert (error["level"], error["message"]) == ("error", "a request failed")
    assert (error["request_id"], error["trace_id"]) == ("mine", TRACE_ID) == (line["request_id"], line["trace_id"])
    assert lines.texts[1].splitlines()[0].endswith(f"contraflow.http: a request failed id=mine trace={TRACE_ID}")


def test_probes_scrapes_preflights_and_files_of_the_page_are_logged_at_debug(server: LiveServer, lines: Lines) -> None:
    paths = ["/health/live", "/v2/health/ready", "/v2/models/tiny/ready", "/metrics", "/static/page.css"]
    messages = [get(path, KEY) for path in paths] + [head("OPTIONS /predict", KEY, CLOSE)]
    ledger = server.state.ledger
    before = ledger.requests.total()
    assert {answer.status for answer in talk(server, messages)} == {200}
    wait_until(lambda: ledger.requests.total() == before + 6)  # that of a file ends after it was read
    assert lines.entries == []
    logging.getLogger().setLevel(logging.DEBUG)
    talk(server, [*messages[:-1], get("/models", KEY, CLOSE)])
    wait_until(lambda: ledger.requests.total() == before + 12)
    requests = [entry for entry in lines.entries if entry["logger"] == "contraflow.request"]
    assert {entry["path"]: entry["level"] for entry in requests} == {**dict.fromkeys(paths, "debug"), "/models": "info"}


def test_lines_of_refused_requests_are_bounded_and_what_is_left_out_is_counted(
    server: LiveServer, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_log, "MOST_PER_SECOND", 5)
    monkeypatch.setattr(request_log, "SECONDS_BETWEEN_COUNTS", 0.5)
    time.sleep(1 - time.monotonic() % 1)  # the lines of earlier tests are in this second
    began = int(time.monotonic())
    talk(server, [(get("/scan", KEY) + get("/models", KEY)) * 50 + get("/scan", CLOSE)])
    seconds = int(time.monotonic()) - began + 1
    pattern = r"left out (\d+) lines of refused requests in the last \d+ s: (\d+ with \d+(?:, \d+ with \d+)?)"

    def left_out() -> Counter[int]:
        total: Counter[int] = Counter()
        for told in [re.fullmatch(pattern, entry["message"]) for entry in list(lines.entries)]:
            if told:
                counts = {int(status): int(number) for number, status in re.findall(r"(\d+) with (\d+)", told[2])}
                assert sum(counts.values()) == int(told[1])
                total.update(counts)
        return total

    def written() -> Counter[int]:
        return Counter([entry["status"] for entry in list(lines.entries) if "status" in entry])

    wait_until(lambda: written() + left_out() == {200: 50, 404: 50, 401: 1})
    assert written()[200] == 50
    assert 5 <= written()[404] + written()[401] <= 5 * seconds


def test_the_line_of_a_probe_says_why_the_service_is_not_ready(tmp_path: Path, lines: Lines) -> None:
    with running(tmp_path) as server:
        lines.entries.clear()
        assert [answer.status for answer in talk(server, [get("/health/ready", CLOSE)])] == [503]
        wait_until(lambda: any("path" in entry for entry in lines.entries))
    (entry,) = [entry for entry in lines.entries if entry["logger"] == "contraflow.request"]
    assert (entry["outcome"], entry["error"], entry["detail"]) == ("refused", "not-ready", "No model is served.")


def test_without_request_log_there_is_no_line(tmp_path: Path, lines: Lines) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, request_log="off") as server:
        assert server.state.observers == ()
        lines.entries.clear()
        talk(server, [post(RED), get("/nowhere"), b"\0\1\r\n\r\n"])
    assert [entry for entry in lines.entries if entry["logger"] == "contraflow.request"] == []


@pytest.mark.skipif(sys.platform != "linux", reason="a pipe's size can be set on Linux only")
def test_a_standard_error_that_nobody_reads_stops_neither_the_service_nor_its_end(tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "service", str(tmp_path), "--http-port", str(port), "--log-format", "json"]
    served = subprocess.Popen([*words, "--warm-up", "false", "--drain-delay", "0"], cwd=ROOT, stderr=writing)
    os.close(writing)
    log = os.fdopen(reading, "rb")
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: is_ready(url))
        with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as client:
            for number in range(60):
                assert best_label(client.post("/predict", content=RED, headers={"x-request-id": str(number)})) == "red"
            entries: list[dict[str, Any]] = []
            while not entries or entries[-1].get("request_id") != "59":
                entries.append(json.loads(log.readline()))
            ids = [entry["request_id"] for entry in entries if entry.get("path") == "/predict"]
            assert ids == [str(number) for number in range(60)]
            for _ in range(40):
                client.post("/predict", content=RED)
        served.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert served.wait(PATIENCE_SECONDS) == 0
        assert time.monotonic() - began < 10
    finally:
        served.kill()
        served.wait()
        log.close()
