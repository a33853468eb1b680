"""Keys from a file: what a line may say, and how the keys change while the service runs."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from contraflow.__main__ import main
from service.http.keys import following
from service.http.keys.following import KeysFile, content_of
from service.http.keys.key import Key, KeysUnusable, line_of, read_lines
from service.http.keys.ring import KeyRing
from tests.service.live_server import PATIENCE_SECONDS, LiveServer, running, wait_until
from tests.service.tiny_bundles import write_bundle

SECRET = "my-own-secret"


def digest(key: str) -> str:
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


def line(key: str, *words: str) -> str:
    return " ".join((digest(key), *words)) + "\n"


WRONG = {
    "a key in clear": (SECRET, "line 1 does not begin with `sha256:`"),
    "a key in clear after a good line": (line("a") + SECRET, "line 2 does not begin"),
    "what sha256sum prints": (digest("a").removeprefix("sha256:") + "  -", "line 1 does not begin"),
    "a digest too short": ("sha256:abc", "line 1 does not begin"),
    "a name that would break a log": (line("a", f"{SECRET}\x1b[31m"), "line 1: a name has at most 64 letters"),
    "a long name": (line("a", "n" * 65), "line 1: a name"),
    "a word too many": (line("a", "alice", SECRET), "line 1: after the digest"),
    "a forgotten name": (line("a", "metrics"), "line 1: after the digest"),
    "a key twice": ("# first\n" + line("a", "alice") + line("a", "bob"), "line 3: the key of line 2 again"),
    "nothing": ("", "it has no key"),
    "nothing but comments": ("\n# none yet\n\n", "it has no key"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_file_that_is_wrong_is_refused_with_its_line_which_is_not_shown(what: str) -> None:
    content, words = WRONG[what]
    with pytest.raises(KeysUnusable) as refused:
        read_lines(content.encode())
    assert str(refused.value).startswith(words)
    assert SECRET not in str(refused.value)


def test_comments_blank_lines_and_the_ends_of_lines_of_windows_are_no_matter() -> None:
    content = "\ufeff# callers\r\n\r\n" + line("a", "alice", "# until May") + line("b") + line("c", "prom", "metrics")
    keys = [Key(hashlib.sha256(key).digest(), *more) for key, *more in ((b"a", "alice"), (b"b",), (b"c", "prom", True))]
    assert read_lines(content.encode()) == tuple(keys)
    assert read_lines("\n".join(map(line_of, keys)).encode()) == tuple(keys)


@pytest.mark.parametrize("what", ["nothing", "a folder", "a pipe", "too much"])
def test_what_is_no_file_is_refused_at_once(what: str, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    if what == "a folder":
        path.mkdir()
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "too much":
        path.write_bytes(b"#" * (2**20 + 1))
    descriptors = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeysUnusable):
        content_of(path)
    assert len(os.listdir("/proc/self/fd")) == descriptors


class Secret:
    """A volume of Kubernetes: files are links into a folder, and the link to the folder is swapped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "api-keys"
        self._version = 0

    def put(self, content: str | None) -> None:
        """Swap the content; None takes the volume away."""
        if content is None:
            (self.folder / "..data").unlink()
            return
        self._version += 1
        version = self.folder / f"..{self._version}"
        version.mkdir()
        (version / "api-keys").write_text(content)
        (self.folder / "..new").symlink_to(version.name)
        (self.folder / "..new").rename(self.folder / "..data")
        if not self.path.is_symlink():
            self.path.symlink_to("..data/api-keys")


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    folder = tmp_path / "secret"
    folder.mkdir()
    return Secret(folder)


@pytest.fixture
def server(secret: Secret, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveServer]:
    """A service that looks at its file of keys more often than in production, for the sake of quick tests."""
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.05)
    write_bundle(tmp_path / "bundles", "tiny")
    secret.put(line("old", "alice") + line("stays", "bob"))
    file: dict[str, Any] = {"api_keys": (digest("fixed"),), "api_keys_file": secret.path}
    with running(tmp_path / "bundles", requests_per_second=0.01, **file) as server:
        yield server


def statuses(server: LiveServer, *keys: str) -> list[int]:
    return [
        httpx.get(f"{server.url}/nothing", headers={"x-api-key": key}, timeout=PATIENCE_SECONDS).status_code
        for key in keys
    ]


def errors(server: LiveServer) -> float:
    value = server.state.metrics.get_sample_value("contraflow_api_keys_file_errors_total")
    assert value is not None
    return value


def more_errors(server: LiveServer, least: float) -> bool:
    return errors(server) >= least


def test_keys_change_without_a_restart_and_a_broken_file_changes_none(
    server: LiveServer, secret: Secret, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "contraflow.keys")
    assert statuses(server, "fixed", "old", "stays", "new") == [404, 404, 404, 401]
    secret.put(line("new", "alice") + line("stays", "bob"))
    wait_until(lambda: statuses(server, "old") == [401])
    assert statuses(server, "new", "stays", "fixed") == [404, 429, 429], "who stays keeps what is left of the rate"
    assert statuses(server, "old", "") == [401, 401]

    for broken in ("", f"{SECRET}\n", None):
        before = errors(server)
        secret.put(broken)
        wait_until(partial(more_errors, server, before + 2))
        assert statuses(server, "new", "stays", "old", "") == [429, 429, 401, 401]
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [text.partition("stay valid: ")[2].split(";")[0] for text in said] == [
        "it has no key",
        "line 1 does not begin with `sha256:` and 64 hexadecimal digits, in lower case",
        "No such file or directory",
    ], "each is said once"

    secret.put(line("back"))
    wait_until(lambda: statuses(server, "new") == [401])
    assert statuses(server, "back", "stays", "old", "fixed") == [404, 401, 401, 429]
    assert server.state.metrics.get_sample_value("contraflow_api_keys") == 2
    assert SECRET not in caplog.text
    assert "is well again" in caplog.text


def test_a_content_counts_once_two_looks_have_found_it(tmp_path: Path) -> None:
    """A look may come while the file is being written: half a line can be a line, with wider rights."""
    path, ring = tmp_path / "keys", KeyRing(has_file=True)
    path.write_text(line("a"))
    file = KeysFile(path, ring)
    path.write_text(line("a") + line("prom", "prom"))  # " metrics" is yet to be written
    file.look()
    assert ring.known(b"prom") is None
    path.write_text(line("a") + line("prom", "prom", "metrics"))
    file.look()
    assert ring.known(b"prom") is None
    file.look()
    known = ring.known(b"prom")
    assert known is not None
    assert known.only_metrics
    assert ring.errors == 0


def test_the_verb_makes_a_key_and_the_line_that_lets_it_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "alice"]) == main(["key", "prometheus", "--only-metrics"]) == 0
    shown = capsys.readouterr()
    keys = [told.rpartition(" ")[2] for told in shown.err.splitlines()]
    path = tmp_path / "keys"
    path.write_text(shown.out)
    ring = KeyRing(has_file=True)
    KeysFile(path, ring)
    alice, prometheus = [ring.known(key.encode()) for key in keys]
    assert alice is not None
    assert prometheus is not None
    assert (alice.name, alice.only_metrics) == ("alice", False)
    assert (prometheus.name, prometheus.only_metrics) == ("prometheus", True)
    assert not any(key in shown.out for key in keys)
    with pytest.raises(SystemExit, match="2"):
        main(["key", "metrics"])
