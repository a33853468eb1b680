"""Checks of responses that several files of tests make."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.service.live_server import best_label


def labels_of(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [best_label(answer, index) for index in range(len(answer.json()["predictions"]))]


def refusal(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


def check_problem(answer: httpx.Response) -> None:
    """Check that an error is a problem document with nothing internal in it."""
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert {"type", "title", "status", "detail", "request_id"} <= problem.keys()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["x-request-id"]
    for secret in ("Traceback", ".py", str(Path.cwd()), "onnxruntime"):
        assert secret not in answer.text
