"""The soak, in its shortest form."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.harness.client import BROKEN
from bench.harness.paths import SHIPPED
from tests.soak.answers import alike
from tests.soak.log import MEMORY_COUNTS_FROM, Log
from tests.soak.play import soak
from tests.soak.requests import Kind


@pytest.mark.skipif(not (SHIPPED / "resnet20").exists(), reason="no trained bundles in this checkout")
def test_mixed_requests_are_answered_right_and_counted_while_bundles_change_and_runs_fail(tmp_path: Path) -> None:
    for name in ("plain20", "resnet20"):
        shutil.copytree(SHIPPED / name, tmp_path / "bundles" / name)
    log = soak(400, tmp_path / "bundles", most_pictures=2, warm_up=False)
    assert log.faults() == []
    assert log.answers.total() == 400
    assert all(log.sent[kind.name] > 0 for kind in log.kinds)
    assert len(log.changes) == 8
    assert all(log.changes.values())


GOOD = Kind("good", 900, (b"",))
BAD = Kind("bad", 50, (b"",), frozenset({422}))
FAILING = Kind("failing", 50, (b"",), frozenset({500}))


def clean_log() -> Log:
    """A soak in which every promise was kept."""
    log = Log([GOOD, BAD, FAILING])
    log.answers.update({("good", 200): 90_000, ("bad", 422): 5_000, ("failing", 500): 5_000})
    log.sent.update({"good": 90_000, "bad": 5_000, "failing": 5_000})
    log.outcomes.update({"answered": 90_000, "refused": 5_000, "failed": 5_000})
    log.resident, log.descriptors = [100.0] * 100, (14, 14)
    return log


def break_promise(log: Log, promise: str) -> None:
    match promise:
        case "wrong answers":
            log.wrong.append("another picture's label")
        case "unexpected answers":
            log.answers["good", 500] += 1
            log.answers["good", 200] -= 1
        case "answers to 100000 requests":
            log.answers["good", 200] -= 1
        case "failed, client":
            log.outcomes["failed"] += 1
        case "refused, client":
            log.outcomes["refused"] -= 1
        case "answered, client":
            log.outcomes["answered"] -= 1
        case "descriptors grew":
            log.descriptors = (14, 15)
        case "memory grew by 6.0%":
            log.resident[-20:] = [106.0] * 20
        case "not followed":
            log.missed.append("swapped")
        case "unexpected lines in the log":
            log.log_lines.append("Traceback")


@pytest.mark.parametrize(
    "promise",
    ["wrong answers", "unexpected answers", "answers to 100000 requests", "failed, client", "refused, client",
     "answered, client", "descriptors grew", "memory grew by 6.0%", "not followed", "unexpected lines in the log"],
)  # fmt: skip
def test_every_promise_that_is_broken_is_reported(promise: str) -> None:
    log = clean_log()
    assert log.faults() == []
    break_promise(log, promise)
    assert any(promise in fault for fault in log.faults())


def test_memory_is_judged_only_over_many_requests() -> None:
    log = clean_log()
    log.sent["good"], log.answers["good", 200], log.outcomes["answered"] = 100, 100, 100
    assert log.answers.total() < MEMORY_COUNTS_FROM
    break_promise(log, "memory grew by 6.0%")
    assert log.faults() == []


def test_a_good_request_without_an_answer_is_a_fault() -> None:
    log = clean_log()
    log.answers["good", 200] -= 1
    log.answers["good", BROKEN] += 1
    assert any("unexpected answers" in fault for fault in log.faults())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"p": [0.5, 1]}', b'{"p": [0.50001, 1]}', True),
        (b'{"p": [0.5, 1]}', b'{"p": [0.51, 1]}', False),
        (b'{"p": [0.5, 1]}', b'{"p": [0.5, 2]}', False),
        (b'{"label": "cat"}', b'{"label": "dog"}', False),
        (b'{"label": "cat"}', b'{"label": "cat", "index": 3}', False),
        (b'<svg><path d="M1.0 2.0"/></svg>', b'<svg><path d="M1.0001 2.0"/></svg>', True),
        (b'<svg><path d="M1.0 2.0"/></svg>', b'<svg><path d="M1.1 2.0"/></svg>', False),
        (b'<svg><path d="M1.0 2.0"/></svg>', b'<svg><rect d="M1.0 2.0"/></svg>', False),
    ],
)
def test_answers_are_alike_up_to_the_last_bits_of_their_numbers(one: bytes, other: bytes, same: bool) -> None:
    assert alike(one, other) == same
