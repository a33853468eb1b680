"""Conclusions of `make bench-serving` from its measurements, and its load generator's judgement of answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.harness.apart import call_apart
from bench.harness.client import post
from bench.harness.paths import CAT, SHIPPED
from bench.serving.generator import first_label_is, load
from bench.serving.profile import PARTS, profile
from bench.serving.report import report
from bench.serving.results import COMPARED, Bound, Measured, Row
from bench.serving.subjects import Subject
from bench.serving.targets import OURS, targets

SUBJECT = Subject("net", "A net", Path(), (), (1, COMPARED), 1.0, (1,), 1.0, 1, 0.85, True)


def row(name: str, rate: float) -> Row:
    result = {"rate": rate, "per_cpu_second": rate, "p50": 1.0, "p99": 9.0, "wrong": 0, "own_cpu": 1000.0}
    result |= {"of_pillow": rate / 100, "of_decoder": rate / 100, "over_ms": 0.5}
    results = dict.fromkeys((1, COMPARED), result)
    return Row(name, results, ready_seconds=1.0, memory_mb=100.0)


def measured(*rows: Row) -> Measured:
    bound = Bound(batch=8, rate=100.0, per_cpu_second=100.0, alone_ms=0.5)
    return Measured(
        SUBJECT,
        bound,
        bound,
        list(rows),
        http_alone=row("HTTP alone", 900),
        memory_alone=90.0,
        profile={"work": 10.0},
        load_average=0.1,
    )


def test_targets_are_judged_by_the_figures_of_the_run() -> None:
    judged = {target.what: target.kept for target in targets(measured(row(OURS, 90), row("peer", 30)))}
    assert judged["per server-CPU-second, × the bound with Pillow"] is False  # 0.90 of 0.95
    decoder = "per server-CPU-second, × the bound with the decoder in use; HTTP alone leaves 0.90"
    assert judged[decoder] is True  # 0.90 of 0.85
    over = "one connection, p50 over the bound at batch 1; HTTP alone takes 1.00 ms"
    assert judged[over] is False  # 0.5 of 0.3 ms
    peers = "requests/s, × the best peer's (peer); the bound itself has 3.33, "
    peers += "with HTTP alone and the load generator on the same cores 2.75"  # 1 / (1/100 + 1/900 + 1/1000) / 30
    assert judged[peers] is True  # 3 of 2.5


def test_a_peer_that_does_not_run_keeps_its_row_and_is_compared_with_nothing() -> None:
    text = report([measured(row(OURS, 90), Row("peer", reason="does not install: no wheel"))])
    assert "| peer | does not install: no wheel |" in text
    assert "best peer" not in text


def test_a_missed_target_stands_out() -> None:
    lines = report([measured(row(OURS, 90))]).splitlines()
    assert "| per server-CPU-second, × the bound with Pillow | 0.9 | ≥ 0.95 | **not reached** |" in lines


class EveryOther(BaseHTTPRequestHandler):
    """Answers every second request of a connection with 503."""

    protocol_version = "HTTP/1.1"
    answered = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.answered += 1
        body = b'{"labels": ["cat", "dog"]}'
        self.send_response(200 if self.answered % 2 else 503)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), EveryOther) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_the_load_generator_counts_right_answers_apart_from_others(port: int) -> None:
    result = load(port, [post("/", b"image")], first_label_is(["cat"]), connections=1, seconds=0.1)
    assert result["right"] - result["wrong"] in (0, 1)
    assert result["right"] > 0


def test_an_answer_is_judged_by_its_first_known_label() -> None:
    check = first_label_is(["cat", "dog"])
    assert check(0, b'["cat", "dog"]')
    assert not check(1, b'["cat", "dog"]')
    assert not check(0, b"[]")


@pytest.mark.slow
def test_a_prediction_goes_through_every_part_of_the_profile(tmp_path: Path) -> None:
    images = tmp_path / "images.json"
    images.write_text(json.dumps([[str(CAT), "cat"]]))
    spent = call_apart(profile, str(SHIPPED / "resnet20"), str(images), COMPARED, 0.1)
    assert [part for part in PARTS.values() if spent[part] <= 0] == []
