"""A start that fails: one line that names the setting, status 2, and no traceback."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.settings.reading import SettingsError, read_settings
from tests.service.tiny_bundles import write_bundle

ROOT = Path(__file__).parents[4]
NOBODY = 65534
DIGEST = "sha256:" + "0" * 64


def started(*flags: str, user: int | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m service` where it ends by itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CONTRAFLOW_")}
    command = [sys.executable, "-m", "service", *flags]
    return subprocess.run(
        command, cwd=ROOT, env=environment | variables, capture_output=True, text=True, timeout=120, user=user
    )


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (2, 1), done.stderr
    assert all(word in lines[0] for word in words), lines[0]


@contextmanager
def taken(host: str = "127.0.0.1") -> Iterator[int]:
    """A port that is in use."""
    with socket.socket() as other:
        other.bind((host, 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_in_use_is_named_by_its_setting(tmp_path: Path) -> None:
    with taken() as port:
        done = started("--bundles", str(tmp_path), "--http-port", str(port))
        assert_refused(done, "http_port (--http-port, CONTRAFLOW_HTTP_PORT)", f"port {port} of 127.0.0.1 is in use")


def test_a_port_for_metrics_in_use_is_named_by_its_setting(tmp_path: Path) -> None:
    with taken() as port:
        done = started("--bundles", str(tmp_path), "--http-port", "0", "--metrics-port", str(port))
        assert_refused(done, "metrics_port (--metrics-port, CONTRAFLOW_METRICS_PORT)", f"port {port} of 127.0.0.1 is")


def test_a_file_of_keys_that_cannot_be_used_is_named_by_its_setting_and_not_repeated(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"# callers\n{DIGEST} alice\nmy-own-secret\n")
    done = started("--bundles", str(tmp_path), "--http-port", "0", "--api-keys-file", str(keys))
    assert_refused(done, "api_keys_file (--api-keys-file, CONTRAFLOW_API_KEYS_FILE)", str(keys), "line 3 ", "sha256sum")
    assert "my-own-secret" not in done.stderr


def test_a_port_in_use_is_found_before_anything_is_imported(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    with taken() as port:
        assert_refused(
            started(str(tmp_path / "net.onnx"), "--http-port", str(port)), f"port {port} of 127.0.0.1 is in use"
        )


@pytest.mark.parametrize(
    ("host", "words"),
    [("no-such-host.invalid", "there is no host 'no-such-host.invalid'"), ("192.0.2.1", "no address of this machine")],
)
def test_a_host_that_is_not_ours_is_named_by_its_setting(tmp_path: Path, host: str, words: str) -> None:
    done = started("--bundles", str(tmp_path), "--http-port", "0", "--host", host)
    assert_refused(done, "host (--host, CONTRAFLOW_HOST)", words)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user's part, which root alone can")
def test_a_port_of_the_administrators_is_named_by_its_setting(tmp_path: Path) -> None:
    least = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if not least.exists() or int(least.read_text()) <= 81:
        pytest.skip("every user may listen on port 81 here")
    code = (
        "import encodings.idna, os; from service.settings.fields import Settings; "
        "from service.http.listening.listeners import listen; "
        f"os.setuid({NOBODY}); listen(Settings(http_port=81))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "StartError: http_port (--http-port, CONTRAFLOW_HTTP_PORT): this user may not" in done.stderr


def test_a_folder_of_bundles_that_is_not_there_was_not_mounted(tmp_path: Path) -> None:
    done = started(CONTRAFLOW_BUNDLES=str(tmp_path / "nothing"))
    assert_refused(done, f"there is no file or folder {tmp_path / 'nothing'}")


@pytest.mark.parametrize(("poll", "when"), [("0.2", "from then on"), ("0", "from the next start on")])
def test_an_empty_folder_is_served_and_told_what_to_put_there(tmp_path: Path, poll: str, when: str) -> None:
    flags = ["--http-port", "0", "--drain-delay", "0", "--bundle-poll-seconds", poll]
    command = [sys.executable, "-m", "service", str(tmp_path), *flags]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as served:
        assert served.stderr is not None
        told = next(line for line in served.stderr if "models: none in" in line)
        advice = f"put a bundle there (contraflow import MODEL --out {tmp_path}), and it is served {when}\n"
        assert told.endswith(f"none in {tmp_path}; {advice}")
        if poll != "0":
            write_bundle(tmp_path, "late")
            assert any("late" in line and "is ready" in line for line in served.stderr)
        served.send_signal(signal.SIGTERM)
        served.stderr.read()
    assert served.returncode == 0


REFUSED = {
    "a rate without keys": (["--requests-per-second", "5"], ["requests_per_second (", "api_keys (--api-keys"]),
    "a key twice": (["--api-keys", f"{DIGEST},{DIGEST}"], ["api_keys (", "twice"]),
    "a key of two kinds": (["--api-keys", DIGEST, "--metrics-keys", DIGEST], ["metrics_keys (", "api_keys ("]),
    "keys for an open port": (["--metrics-keys", DIGEST, "--metrics-port", "0"], ["metrics_keys (", "metrics_port ("]),
    "one port for two": (["--http-port", "9", "--metrics-port", "9"], ["metrics_port (", "http_port ("]),
    "no port for metrics": (["--metrics-port", "-1"], ["metrics_port (", "'-1'"]),
    "a body larger than all bodies": (
        ["--max-body-bytes", "4096", "--max-body-bytes-in-flight", "2048"],
        ["max_body_bytes (--max-body-bytes", "max_body_bytes_in_flight (--max-body-bytes-in-flight"],
    ),
    "pictures of nothing": (["--capture-pictures", "true"], ["capture_pictures (", "capture (--capture,"]),
    "no images": (["--max-images", "0"], ["max_images (--max-images, CONTRAFLOW_MAX_IMAGES)", "'0'"]),
    "a batch of none": (["--max-batch", "0"], ["max_batch ("]),
    "a negative batch": (["--max-batch", "-1"], ["max_batch ("]),
    "a negative delay": (["--drain-delay", "-1"], ["drain_delay ("]),
    "an endless delay": (["--drain-delay", "inf"], ["drain_delay ("]),
    "a deadline that is no number": (["--deadline-ms", "nan"], ["deadline_ms ("]),
    "no time": (["--request-timeout", "0"], ["request_timeout ("]),
    "more than every image sampled": (["--sample-gradients", "1.5"], ["sample_gradients ("]),
    "nobody to decode": (["--decode-threads", "0"], ["decode_threads ("]),
    "words for a number": (["--run-threads", "two"], ["run_threads (", "'two'"]),
    "an unknown level": (["--log-level", "loud"], ["log_level (", "debug"]),
    "an unknown provider": (["--execution-provider", "tpu"], ["execution_provider (", "cuda:N"]),
    "a GPU without its number": (["--execution-provider", "cuda:"], ["execution_provider (", "cuda:N"]),
    "a GPU before the first": (["--execution-provider", "cuda:-1"], ["execution_provider ("]),
    "a GPU called in other digits": (["--execution-provider", "cuda:١"], ["execution_provider ("]),
    "no memory on the GPU": (["--gpu-memory-limit", "0"], ["gpu_memory_limit (", "1048576"]),
    "the GPU's memory on the CPU": (
        ["--execution-provider", "cpu", "--gpu-memory-limit", "8000000000"],
        ["gpu_memory_limit (--gpu-memory-limit", "execution_provider ("],
    ),
    "a port beyond the last": (["--http-port", "65536"], ["http_port ("]),
    "no path": (["--bundles", ""], ["bundles ("]),
    "no path among several": (["--bundles", "a:"], ["bundles (", "a path is needed"]),
    "an argument without a name": ([""], ["bundles ("]),
    "an empty host": (["--host", ""], ["host ("]),
    "a prefix without its slash": (["--root-path", "vision"], ["root_path (--root-path", "begins with a slash"]),
    "a prefix with a slash at its end": (["--root-path", "/vision/"], ["root_path (", "ends without one"]),
    "a prefix that leads out": (["--root-path", "/vision/../x"], ["root_path ("]),
    "a prefix with an escape": (["--root-path", "/a%2Fb"], ["root_path ("]),
    "a name for a proxy": (["--trusted-proxies", "nginx"], ["trusted_proxies (", "write an address, a network"]),
    "half a network": (["--trusted-proxies", "10.0.0.1/8"], ["trusted_proxies (", "host bits"]),
    "an origin without a scheme": (["--cors-origins", "app.example.com"], ["cors_origins (", "scheme://host"]),
    "an origin with a path": (["--cors-origins", "https://app.example.com/"], ["cors_origins (", "without a path"]),
    "a pattern of origins": (["--cors-origins", "https://*.example.com"], ["cors_origins ("]),
    "the origin of nobody": (["--cors-origins", "null"], ["cors_origins ("]),
    "keys for all origins": (
        ["--cors-origins", "https://a.example,*", "--api-keys", DIGEST],
        ["cors_origins (--cors-origins", "api_keys (--api-keys", "name the origins"],
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_setting_without_sense_is_named_as_it_is_set(what: str) -> None:
    flags, words = REFUSED[what]
    with pytest.raises(SettingsError) as refusal:
        read_settings({}, flags)
    assert "\n" not in str(refusal.value)
    assert all(word in str(refusal.value) for word in words), str(refusal.value)
    assert str(refusal.value).count(repr(flags[-1])) <= 1, "the value is named once"


@pytest.mark.parametrize("variable", ["CONTRAFLOW_API_KEYS", "CONTRAFLOW_METRICS_KEYS"])
def test_a_key_in_clear_is_refused_and_not_repeated(variable: str) -> None:
    with pytest.raises(SettingsError, match="sha256sum") as refusal:
        read_settings({variable: "my-own-secret"})
    assert "my-own-secret" not in str(refusal.value)


def test_a_rate_with_keys_is_a_setting_like_any_other() -> None:
    digest = "sha256:" + hashlib.sha256(b"key").hexdigest()
    settings, _ = read_settings({}, ["--requests-per-second", "5", "--api-keys", digest])
    assert settings.requests_per_second == 5


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--max-images", "0"], "max_images"), (["--max-image", "3"], "unrecognized arguments: --max-image")],
)
def test_a_flag_that_is_not_taken_ends_the_start_in_one_line(flags: list[str], words: str) -> None:
    assert_refused(started(*flags), words)


@pytest.mark.usefixtures("without_cuda")
def test_a_processor_that_is_not_there_ends_the_start_in_one_line(tmp_path: Path) -> None:
    assert_refused(started("--bundles", str(tmp_path), "--execution-provider", "cuda"), "execution_provider=cuda")
