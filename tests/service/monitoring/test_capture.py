"""`capture`: predictions kept with their answers, over a real socket: what is kept, and what the disk does to it."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import resource
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from service.app import create_app
from service.engine.request_context import RequestContext
from service.monitoring.capture.capturing import QUEUE_BYTES, Capture, in_share
from service.monitoring.capture.ring import FILES
from service.monitoring.finished_request import FinishedRequest
from service.settings.fields import Settings
from tests.service.live_server import LiveServer, picture, running, wait_until
from tests.service.tiny_bundles import write_bundle

KEY = "a-key-in-clear"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
HEADERS = {"Authorization": f"Bearer {KEY}", "X-API-Key": KEY, "Cookie": f"session={KEY}"}
DIGESTS = ("sha256:" + hashlib.sha256(KEY.encode()).hexdigest(),)


@contextmanager
def capturing(folder: Path, **settings: Any) -> Iterator[LiveServer]:
    """Run a server over `tiny` that captures into `folder`/captured."""
    write_bundle(folder / "bundles")
    with running(folder / "bundles", capture=folder / "captured", **settings) as server:
        yield server


def files_in(folder: Path) -> list[Path]:
    return sorted((folder / "captured").glob("*.jsonl"))


def lines(folder: Path) -> list[Any]:
    return [json.loads(line) for file in files_in(folder) for line in file.read_bytes().splitlines()]


def counts(server: LiveServer) -> tuple[int, int]:
    """Return how many requests `/metrics` counts as written and as lost."""
    with server.client(headers=HEADERS) as client:
        text = client.get("/metrics").text
    name = 'contraflow_captured_requests_total{outcome="%s"} '
    written, lost = (text.partition(name % outcome)[2].partition("\n")[0] for outcome in ("written", "lost"))
    return int(float(written)), int(float(lost))


def settled(server: LiveServer, requests: int) -> tuple[int, int]:
    """Return the counts once that many requests were written or lost."""
    wait_until(lambda: sum(counts(server)) == requests)
    return counts(server)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what was captured of requests of every kind, by two services: plain with bodies, and events without."""
    folder = tmp_path_factory.mktemp("mixed")
    for form, pictures in (("json", True), ("cloudevents", False)):
        with (
            capturing(folder / form, capture_format=form, capture_pictures=pictures, api_keys=DIGESTS) as server,
            server.client(headers=HEADERS) as client,
        ):
            send_of_every_kind(client)
            assert client.post("/predict", content=picture(), headers={"Authorization": "", "X-API-Key": ""}).is_error
            assert settled(server, 6) == (6, 0)
    return folder


def send_of_every_kind(client: httpx.Client) -> None:
    """Send six requests that are captured, and others that are not."""
    traced = {"X-Request-Id": "mine", "traceparent": TRACEPARENT}
    client.post("/predict?top_k=1", content=picture(), headers=traced)
    client.post("/predict", files={"image": picture("blue")})
    client.post("/predict", content=b"no picture")
    client.post(f"/predict?model=tiny&api_key={KEY}", content=picture())
    whole = {"Inference-Header-Content-Length": "0"}
    client.post("/v2/models/tiny/infer", content=picture(), headers=whole)
    binary = {
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [in_base64(picture())]}],
        "parameters": {"binary_data_output": True},
    }
    client.post("/v2/models/tiny/versions/1/infer", json=binary)
    client.post("/predict")
    client.post("/diagnostics/gradients", content=picture())
    client.get("/models")


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_a_record_says_what_was_asked_and_what_was_answered(mixed: Path) -> None:
    records = lines(mixed / "json")
    first = records[0]
    assert (first["method"], first["path"], first["query"], first["status"]) == ("POST", "/predict", "top_k=1", 200)
    assert (first["id"], first["trace_id"], first["model"]) == ("mine", TRACE, "tiny@1")
    assert base64.b64decode(first["body"]) == picture()
    assert (first["body_bytes"], first["body_sha256"]) == (len(picture()), hashlib.sha256(picture()).hexdigest())
    assert [label["label"] for label in first["answer"]["predictions"][0]["labels"]] == ["red"]
    assert sum(first["stages_ms"].values()) == pytest.approx(first["latency_ms"], abs=0.01)
    assert abs((datetime.now().astimezone() - datetime.fromisoformat(first["time"])).total_seconds()) < 60
    assert records[1]["headers"]["content-type"].startswith("multipart/form-data; boundary=")
    assert records[4]["headers"] == {"inference-header-content-length": "0"}
    assert [record["status"] for record in records] == [200, 200, 415, 422, 200, 200]
    assert base64.b64decode(records[5]["answer_base64"]).startswith(b'{"model_name":"tiny"')
    assert records[5]["answer"] is None


def test_an_event_is_a_cloud_event_with_the_record_as_its_data(mixed: Path) -> None:
    events, records = lines(mixed / "cloudevents"), lines(mixed / "json")
    for event in events:
        assert (event["specversion"], event["datacontenttype"]) == ("1.0", "application/json")
        assert (event["type"], event["time"]) == ("io.contraflow.prediction", event["data"]["time"])
        assert event["source"].startswith("/contraflow/")
    assert len({event["id"] for event in events}) == len(events)
    assert events[0]["subject"] == "tiny@1"
    assert events[0]["traceparent"] == TRACEPARENT
    assert "subject" not in events[3], "no model was chosen"
    assert [set(event["data"]) for event in events] == [set(record) for record in records]
    assert all(event["data"]["body"] is None and event["data"]["body_bytes"] for event in events)


def test_no_key_is_ever_written_and_only_the_owner_can_read(mixed: Path) -> None:
    for form in ("json", "cloudevents"):
        folder = mixed / form / "captured"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for file in files_in(mixed / form):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            content = file.read_text()
            assert not any(word in content for word in (KEY, in_base64(KEY.encode()), "ookie", "127.0.0.1"))
        assert [record.get("data", record)["query"] for record in lines(mixed / form)][3] == "model=tiny&api_key"


def test_three_lines_of_pandas_give_the_labels_over_time(mixed: Path) -> None:
    captured = pd.concat(pd.read_json(file, lines=True) for file in files_in(mixed / "json"))
    answered = captured[(captured.path == "/predict") & (captured.status == 200)].set_index("time")
    labels = answered["answer"].map(lambda answer: answer["predictions"][0]["labels"][0]["label"])
    assert labels.groupby(pd.to_datetime(labels.index).floor("D")).value_counts().tolist() == [1, 1]
    assert labels.tolist() == ["red", "blue"]


def test_a_share_is_chosen_by_the_id_and_is_part_of_a_larger_share(tmp_path: Path) -> None:
    ids = [f"request-{number}" for number in range(2000)]
    small, large = ({one for one in ids if in_share(one, share)} for share in (0.1, 0.3))
    assert small < large
    assert 150 < len(small) < 250
    assert (len([one for one in ids if in_share(one, 0)]), len([one for one in ids if in_share(one, 1)])) == (0, 2000)
    with capturing(tmp_path, capture_share=0.1) as server, server.client() as client:
        for one in ids[:100]:
            assert client.post("/predict", content=picture(), headers={"X-Request-Id": one}).status_code == 200
    assert "capture" not in {thread.name for thread in threading.enumerate()}, "what waits is written before the end"
    assert [record["id"] for record in lines(tmp_path)] == [one for one in ids[:100] if one in small]


def test_the_oldest_files_are_removed_for_the_newest(tmp_path: Path) -> None:
    most, sent = 2**20, 48
    body = picture() + bytes(30_000)  # what follows a picture is no part of it
    with capturing(tmp_path, capture_pictures=True, capture_max_bytes=most) as server, server.client() as client:
        for number in range(sent):
            headers = {"X-Request-Id": f"number-{number}"}
            assert client.post("/predict", content=body, headers=headers).status_code == 200
            if number % 12 == 11:
                assert settled(server, number + 1) == (number + 1, 0)
                assert sum(file.stat().st_size for file in files_in(tmp_path)) <= most
        large = picture() + bytes(most // FILES)
        client.post("/predict", content=large, headers={"X-Request-Id": "large"})
    records = lines(tmp_path)
    numbers = [int(record["id"].removeprefix("number-")) for record in records[:-1]]
    assert numbers == list(range(sent - len(numbers), sent))
    assert 12 <= len(numbers) < sent, "some were removed, not most"
    assert (records[-1]["id"], records[-1]["body"], records[-1]["body_bytes"]) == ("large", None, len(large))
    assert all(file.stat().st_size <= most // FILES for file in files_in(tmp_path))


def test_a_disk_that_is_full_or_gone_is_said_once_and_requests_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk is the system's limit on the size of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    folder = tmp_path / "captured"
    with capturing(tmp_path) as server, server.client() as client:

        def send(already: int, many: int) -> tuple[int, int]:
            for number in range(many):
                assert client.post("/predict", content=picture()).status_code == 200
                counted = settled(server, already + number + 1)
            return counted

        assert send(0, 1) == (1, 0)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (files_in(tmp_path)[0].stat().st_size + 100, limits[1]))
            assert send(1, 3) == (1, 3)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert send(4, 2) == (3, 3)
        assert len(lines(tmp_path)) == 3, "nothing is left of lines that were cut"
        folder.rename(tmp_path / "moved")
        for file in (tmp_path / "moved").iterdir():
            file.unlink()
        folder.write_text("in the way")
        assert send(6, 2) == (3, 5)
        folder.unlink()
        assert send(8, 1) == (4, 5)
    assert len(lines(tmp_path)) == 1, "the folder was made again"
    said = [(one.levelno, one.getMessage()) for one in caplog.records if one.levelno > logging.INFO]
    assert [level for level, _ in said] == [logging.ERROR, logging.WARNING] * 2
    for (_, words), expected in zip(
        said, (f"{folder}: File too large", "3 were lost", str(folder), "5 were lost"), strict=True
    ):
        assert expected in words


def test_what_waits_for_the_disk_is_bounded_and_the_rest_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk is one that takes nothing before the service ends."""
    folder = tmp_path / "captured"
    capture = Capture(folder, share=1.0, pictures=False, form="json", most_bytes=2**30)
    largest = QUEUE_BYTES // 2**20
    for _ in range(largest + 8):
        capture(
            FinishedRequest(
                RequestContext(),
                "POST",
                "/predict",
                b"",
                "/predict",
                200,
                "answered",
                2**20,
                2,
                {},
                bytes(2**20),
                b"{}",
            )
        )
    capture.start()
    capture.stop()
    (counts,) = capture.collect()
    assert {one.labels["outcome"]: one.value for one in counts.samples} == {"written": largest - 1, "lost": 9}
    assert len(lines(tmp_path)) == largest - 1
    assert "not every request is captured" in caplog.text


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with capturing(tmp_path) as first, first.client() as client:
        client.post("/predict", content=picture())
        settled(first, 1)
        with capturing(tmp_path) as second, second.client() as other:
            assert other.post("/predict", content=picture()).status_code == 200
            assert settled(second, 1) == (0, 1)
    assert "another process captures into this folder" in caplog.text
    assert len(lines(tmp_path)) == 1


def test_a_folder_that_cannot_be_made_ends_the_start_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"capture \(--capture, CONTRAFLOW_CAPTURE\): .*file/captured: Not a directory"):
        create_app(Settings(bundles=(tmp_path,), capture=tmp_path / "file" / "captured"))
    with pytest.raises(OSError, match=r"CONTRAFLOW_CAPTURE\): .*file: this is a file; a folder is needed"):
        create_app(Settings(bundles=(tmp_path,), capture=tmp_path / "file"))
    assert os.listdir(tmp_path) == ["file"]
