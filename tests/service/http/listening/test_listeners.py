"""The service listens on several addresses, on both families of addresses, on a Unix socket; or says why it cannot."""

from __future__ import annotations

import re
import runpy
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.http.listening.listeners import bound, listen
from service.http.starting import StartError
from service.settings.fields import Settings
from tests.service.live_server import PATIENCE_SECONDS, best_label, picture, running
from tests.service.tiny_bundles import write_bundle

ROOT = Path(__file__).parents[4]
RED = picture("red")
LIVE = {"live": True}


@pytest.fixture
def path() -> Iterator[Path]:
    """A path short enough for a Unix socket, wherever temporary folders are."""
    with tempfile.TemporaryDirectory(prefix="cf", dir="/tmp") as folder:
        yield Path(folder) / "http.sock"


def uds(path: Path) -> Settings:
    return Settings.model_validate({"uds": str(path)})


def over(path: Path) -> httpx.Client:
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=str(path)), base_url="http://localhost", timeout=PATIENCE_SECONDS
    )


def ipv6_here() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_unix_socket_serves_everything_and_is_removed_at_the_end(path: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path, uds=path, root_path="/vision", trusted_proxies="unix") as server, over(path) as client:
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        for _ in range(3):
            told = {"X-Forwarded-For": "192.0.2.1"}
            assert best_label(client.post("/vision/predict", content=RED, headers=told)) == "red"
        (connection,) = server.connections()
        assert connection.cycle.scope["client"] == ("192.0.2.1", 0)
        assert client.get("/health/live").json() == LIVE
        assert connection.cycle.scope["client"] == ("unix", 0)
        assert re.search(r'contraflow_requests_total\{.*"/predict".*\} 3\.0', client.get("/metrics").text)
        healthcheck = runpy.run_path(str(ROOT / "deploy" / "image" / "healthcheck.py"))
        assert healthcheck["answer"]({"CONTRAFLOW_UDS": str(path)}, "/health/ready").startswith("HTTP/1.1 200 ")
    assert not path.exists()


def test_a_socket_that_nobody_listens_on_any_more_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert path.exists()
    with listen(uds(path)) as listeners:
        assert listeners.addresses() == [f"unix:{path}"]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_socket_of_another_process_is_neither_taken_nor_removed(path: Path) -> None:
    words = r"^uds \(--uds, CONTRAFLOW_UDS\): .*: another process listens there$"
    with listen(uds(path)), pytest.raises(StartError, match=words):
        bound(uds(path))
    with bound(uds(path)) as early, listen(uds(path)):
        with pytest.raises(StartError, match="another process has taken it meanwhile"):
            early.begin()
        early.close()
        assert path.exists(), "it belongs to the other"
    assert not path.exists()


def test_a_unix_socket_that_cannot_be_made_is_named_by_its_setting(path: Path) -> None:
    path.write_text("precious")
    refused = {
        path: "something else is there, and is not removed",
        path.parent / "none" / "s": f"there is no folder {path.parent / 'none'}",
        path.parent / ("s" * 120): "too long",
    }
    for place, words in refused.items():
        with pytest.raises(StartError, match=r"^uds \(--uds, CONTRAFLOW_UDS\): ") as refusal:
            bound(uds(place))
        assert words in str(refusal.value)
    assert path.read_text() == "precious"


@pytest.mark.skipif(not ipv6_here(), reason="there is no IPv6 here")
def test_all_addresses_of_ipv6_take_ipv4_too_and_its_clients_are_shown_as_such(tmp_path: Path) -> None:
    with running(tmp_path / "nothing", host="::", loaded=False) as server:
        for host, seen in (("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")):
            with httpx.Client(base_url=f"http://{host}:{server.port}", timeout=PATIENCE_SECONDS) as client:
                assert client.get("/health/live").json() == LIVE
                (connection,) = server.connections()
                assert connection.client is not None
                assert connection.client[0] == seen
        environment = {"CONTRAFLOW_HOST": "::", "CONTRAFLOW_HTTP_PORT": str(server.port)}
        healthcheck = runpy.run_path(str(ROOT / "deploy" / "image" / "healthcheck.py"))
        assert healthcheck["answer"](environment, "/health/live").startswith("HTTP/1.1 200 ")


@pytest.mark.skipif(not ipv6_here(), reason="there is no IPv6 here")
@pytest.mark.parametrize("host", ["127.0.0.1,::1", "::,0.0.0.0"])
def test_several_addresses_share_a_port(host: str) -> None:
    settings = Settings.model_validate({"host": host, "http_port": 0})
    with listen(settings) as listeners:
        assert {one.family for one in listeners.sockets} == {socket.AF_INET, socket.AF_INET6}
        (port,) = {one.getsockname()[1] for one in listeners.sockets}
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as client:
                client.connect((address, port))
    with listen(Settings(host=("localhost",), http_port=0)) as listeners:
        names = {f"http://{name}:" for name in ("127.0.0.1", "[::1]")}
        assert {address.rpartition(":")[0] + ":" for address in listeners.addresses()} <= names


def test_one_address_of_several_that_is_taken_ends_the_start_and_frees_the_others() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.2", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StartError, match=rf"port {port} of 127\.0\.0\.2 is in use by another process"):
            bound(Settings(host=("127.0.0.1", "127.0.0.2"), http_port=port))
        with listen(Settings(http_port=port)) as listeners:
            assert listeners.addresses() == [f"http://127.0.0.1:{port}"]


def test_an_address_with_two_names_is_bound_once() -> None:
    hosts = ("127.0.0.1", "localhost", "127.1")
    with listen(Settings(host=hosts, http_port=0)) as listeners:
        assert [one.family for one in listeners.sockets].count(socket.AF_INET) == 1
