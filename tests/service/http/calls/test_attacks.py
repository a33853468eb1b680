"""Each attack in `tests.attacks` gets one of the statuses that it is listed with, and the service stays well.

`python -m bench.promises --only 8` plays the same attacks at a service with its own limits, and
measures what each costs in memory and how long others wait.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks import ATTACKS
from tests.attacks.wire import Attack, Target, answer_to, status_of
from tests.service.live_server import LiveServer, best_label, picture, running
from tests.service.tiny_bundles import LABELS, write_bundle

RESIZED = {"height": 8, "width": 8, "resize": 256, "mean": (0.0,) * 3, "std": (1.0,) * 3}
TARGET = Target("tiny", 8, LABELS, body=100_000, head=4096, images=8, pixels=1_000_000)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    folder: Path = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    write_bundle(folder, TARGET.resizing, input=RESIZED)
    with running(
        folder,
        default_model="tiny",
        max_body_bytes=TARGET.body,
        max_header_bytes=TARGET.head,
        max_images=TARGET.images,
        max_image_pixels=TARGET.pixels,
        max_json_depth=TARGET.depth,
        request_timeout=3,
    ) as server:
        yield server


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_each_attack_gets_its_status_and_the_service_lives(server: LiveServer, attack: Attack) -> None:
    answer = answer_to(attack, TARGET, server.host, server.port)
    assert status_of(answer) in attack.statuses, answer[:300]
    check_shape(answer)
    with server.client() as client:
        assert best_label(client.post("/predict", content=picture("red"))) == "red"


def check_shape(answer: bytes) -> None:
    """Check that an error is a problem document, or the open protocol's own error, and shows nothing internal."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if status_of(answer) < 400:
        return
    if b"application/problem+json" in head:
        assert {"type", "title", "status", "detail", "request_id"} <= json.loads(body).keys()
    else:
        assert b"application/json" in head
        assert json.loads(body).keys() == {"error"}
    assert b"Traceback" not in body
    assert b".py" not in body.replace(b"pyproject", b"")


def test_there_are_many_and_no_two_have_one_name() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 60


def test_none_was_a_failure_of_ours(server: LiveServer) -> None:
    assert server.state.ledger.requests["failed"] == 0
