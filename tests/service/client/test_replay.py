"""`contraflow replay`: captured requests sent again over a real socket, to the same model and to others."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contraflow.__main__ import main
from service.monitoring.capture.reading import captured_requests
from tests.service.live_server import LiveServer, picture, running
from tests.service.tiny_bundles import write_bundle

KEY = "a-key-in-clear"
DIGESTS = ("sha256:" + hashlib.sha256(KEY.encode()).hexdigest(),)
MIXTURE = (100, 90, 80)
"""A colour whose labels are close to each other."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny` is what was captured; `near` differs in the fourth digit, `greener` in labels too."""
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder, "tiny")
    write_bundle(folder, "near", bias=(0.0, 0.002, 0.0))
    write_bundle(folder, "greener", bias=(0.0, 4.0, 0.0))
    write_bundle(folder, "several", label_kind="independent")
    write_bundle(folder, "more", label_kind="independent", bias=(0.0, 4.0, 0.0))
    return folder


@pytest.fixture(scope="module")
def captured(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return what was captured of the same requests: plain, as events, and without bodies."""
    folder = tmp_path_factory.mktemp("captured")
    for name, form, pictures in (("plain", "json", True), ("events", "cloudevents", True), ("bare", "json", False)):
        settings: dict[str, Any] = {"capture": folder / name, "capture_format": form, "capture_pictures": pictures}
        with running(bundles, default_model="tiny", **settings) as server:
            send_of_every_kind(server)
    return {path.name: path for path in folder.iterdir()}


def send_of_every_kind(server: LiveServer) -> None:
    """Send eleven requests, two of them of independent labels, and one that is refused."""
    image = in_base64(picture(MIXTURE))
    inputs = [{"name": "image", "datatype": "BYTES", "shape": [2], "data": [image, in_base64(picture())]}]
    binary = {"binary_data": True}
    ranked = {"name": "logits", "parameters": {"classification": 2}}
    with server.client() as client:
        for colour in ("red", "blue", MIXTURE):
            client.post("/predict?top_k=2", content=picture(colour))
        client.post("/predict", content=b"no picture")
        client.post("/predict", files=[("images", picture(MIXTURE)), ("images", picture())])
        client.post("/predict", json={"images": [image], "model": "tiny", "top_k": 1})
        client.post("/predict?model=several", content=picture(MIXTURE))
        client.post("/predict", files={"image": picture()}, data={"model": "several"})
        many = [{"name": "image", "datatype": "BYTES", "shape": [16], "data": [image] * 16}]
        assert client.post("/v2/models/tiny/infer", json={"inputs": many}).headers["content-encoding"] == "gzip"
        client.post(
            "/v2/models/tiny/versions/1/infer", json={"inputs": inputs, "parameters": {"binary_data_output": True}}
        )
        outputs = [{"name": "probabilities", "parameters": binary}, ranked]
        client.post("/v2/models/tiny/infer", json={"inputs": inputs, "outputs": outputs})


def in_base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def content(folder: Path) -> bytes:
    """Return what was captured into a folder."""
    return b"".join(file.read_bytes() for file in sorted(folder.glob("*.jsonl")))


@pytest.fixture(scope="module")
def server(bundles: Path) -> Iterator[LiveServer]:
    with running(bundles, default_model="tiny") as server:
        yield server


class Replayed:
    """The end of one replay: its status, what it printed, and its JSON."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: object) -> None:
        capsys.readouterr()
        self.status = main(["replay", *map(str, words)])
        self.out, self.error = capsys.readouterr()

    @property
    def counts(self) -> dict[str, int]:
        """Return what the JSON counts that is not zero."""
        document = json.loads(self.out)
        numbers = {"same": document["same"], **document["different"], **document["not_sent"]}
        return {name: number for name, number in numbers.items() if number}


@pytest.mark.parametrize("form", ["plain", "events"])
def test_the_same_model_answers_the_same(
    form: str, captured: dict[str, Path], server: LiveServer, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Replayed(capsys, captured[form], "--against", f"{server.url}/", "--tolerance", 0)
    assert done.status == 0, done.out + done.error
    assert done.out.startswith("requests sent again  11\nsame answer          11\n")
    assert "median 0, largest 0\n" in done.out
    assert "differences" not in done.out


def test_a_request_that_is_now_refused_has_the_reason(
    captured: dict[str, Path], server: LiveServer, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Replayed(capsys, captured["plain"], "--against", server.url, "--model", "nobody")
    assert done.status == 1
    assert "another status: 200 → 404: There is no model 'nobody'" in done.out


def test_another_model_answers_otherwise_and_the_requests_are_named(
    captured: dict[str, Path], server: LiveServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = (captured["plain"], "--against", server.url, "--model", "greener@1")
    written = tmp_path / "differences.json"
    done = Replayed(capsys, *words, "--out", written)
    assert done.status == 1
    assert "several@1, now greener@1 (1)\n" in done.out
    shown = done.out.partition("differences:\n")[2]
    assert "  /predict?top_k=2  another top label: red 0.4" in shown
    assert " → green 0.9" in shown
    document = json.loads(written.read_text())
    assert json.loads(Replayed(capsys, *words, "--json").out)["different"] == document["different"]
    assert document["same"] == 1, "the one that no model can read"
    assert document["different"]["form"] == 1, "independent labels against classes"
    assert document["different"]["label"] == 6, "wherever the mixture is"
    assert document["different"]["probability"] == 2
    assert list(document["not_sent"].items()) == [
        ("its multipart form names the model, which --model does not change", 1)
    ]
    assert 0.5 < document["probability_gap"]["largest"] < 1


def test_a_difference_within_the_tolerance_is_none(
    captured: dict[str, Path], server: LiveServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (captured["events"], "--against", server.url, "--model", "near", "--json", "--concurrency", 1)
    strict, lax = Replayed(capsys, *words), Replayed(capsys, *words, "--tolerance", 0.01)
    assert (strict.status, strict.counts["probability"]) == (1, 6)
    assert "label" not in strict.counts
    assert {name for name in lax.counts if "multipart" not in name} == {"same", "form"}


def test_independent_labels_differ_by_those_that_apply(
    captured: dict[str, Path], server: LiveServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    lines = content(captured["plain"]).splitlines(True)
    one = tmp_path / "one.jsonl"
    one.write_bytes(next(line for line in lines if b'"query":"model=several"' in line))
    done = Replayed(capsys, one, "--against", server.url, "--model", "several")
    assert (done.status, done.out.count("same answer          1\n")) == (0, 1)
    assert Replayed(capsys, one, "--against", server.url, "--model", "more", "--json").status == 1


def test_a_damaged_line_is_counted_and_the_others_are_sent(
    captured: dict[str, Path], server: LiveServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "cut.jsonl").write_bytes(b"nonsense\n\n[]\n" + content(captured["plain"])[:-20])
    (tmp_path / "notes.txt").write_text("no capture")
    done = Replayed(capsys, tmp_path, "--against", server.url, "--json")
    assert (done.status, done.counts) == (0, {"same": 10, "the line is damaged": 3})


def test_a_service_with_keys_is_asked_with_the_key_of_the_environment_or_of_a_file(
    captured: dict[str, Path], bundles: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "key").write_text(f"{KEY}\n")
    with running(bundles, default_model="tiny", api_keys=DIGESTS, capture=tmp_path / "again") as server:
        words = (captured["plain"], "--against", server.url)
        without = Replayed(capsys, *words)
        assert (without.status, without.out) == (2, "")
        assert without.error.startswith(f"error: {server.url} wants a key that it knows")
        assert Replayed(capsys, *words, "--key-file", tmp_path / "key").status == 0
        monkeypatch.setenv("CONTRAFLOW_API_KEY", "schlüssel")
        assert "CONTRAFLOW_API_KEY: one key is needed" in Replayed(capsys, *words).error
        monkeypatch.setenv("CONTRAFLOW_API_KEY", KEY)
        assert Replayed(capsys, *words).status == 0
        with server.client(headers={"X-API-Key": KEY}) as client:
            assert client.post("/predict", content=picture(), headers={"X-Request-Id": "own"}).status_code == 200
    assert json.loads(content(tmp_path / "again"))["id"] == "own", "a replay is not captured"


def test_what_is_captured_meanwhile_is_not_sent(captured: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "growing.jsonl"
    file.write_bytes(content(captured["plain"]))
    requests = captured_requests([file])
    first = next(requests)
    file.write_bytes(2 * file.read_bytes())
    assert [request and request.id for request in (first, *requests)] == [
        json.loads(line)["id"] for line in content(captured["plain"]).splitlines()
    ]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("bare", "this capture holds no pictures: a service keeps them with --capture-pictures"),
        ("empty", "empty: there is no file of captured requests (*.jsonl) in this folder"),
        ("nowhere", "nowhere: No such file or directory"),
        ("foreign.jsonl", "there is no captured request that could be sent: the line is damaged"),
        ("nothing.jsonl", "there is no captured request that could be sent: the files are empty"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_one_line(
    what: str, words: str, captured: dict[str, Path], server: LiveServer, capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign.jsonl").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    (tmp_path / "nothing.jsonl").write_bytes(b"")
    done = Replayed(capsys, captured.get(what, tmp_path / what), "--against", server.url)
    assert (done.status, done.out, done.error.count("\n")) == (2, "", 1)
    assert words in done.error


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1 does not answer: Connection refused"),
        ("http://nowhere.invalid", "http://nowhere.invalid does not answer: "),
        ("localhost:8000", "--against localhost:8000: the address of a service is needed, http://HOST:PORT"),
        ("http://[::1", "--against http://[::1: the address of a service is needed"),
    ],
)
def test_a_service_that_is_not_there_is_said_in_one_line(
    url: str, words: str, captured: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    done = Replayed(capsys, captured["plain"], "--against", url)
    assert (done.status, done.out, done.error.count("\n")) == (2, "", 1)
    assert done.error.startswith(f"error: {words}")


@contextmanager
def stranger(*answers: tuple[int, bytes]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Run a service that gives these answers in turn, the last one for ever, and closes after each."""
    left, seen = list(answers), []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            seen.append({"target": self.path, **self.headers})
            status, body = left.pop(0) if len(left) > 1 else left[0]
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{other.server_port}/prefix", seen
        other.shutdown()


def test_a_busy_service_is_asked_again_and_a_stranger_s_answers_are_differences(
    captured: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with stranger((503, b""), (429, b"{}"), (502, b"<html>"), (200, b"hello")) as (url, seen):
        done = Replayed(capsys, captured["plain"], "--against", url, "--json", "--concurrency", 1)
    assert (done.status, done.counts) == (1, {"status": 1, "form": 10})
    assert len(seen) == 11 + 3
    assert seen[0]["target"] == seen[2]["target"] == "/prefix/predict?top_k=2"
    assert (
        seen[0]["X-Request-Id"]
        == seen[2]["X-Request-Id"]
        == json.loads(content(captured["plain"]).splitlines()[0])["id"]
    )
