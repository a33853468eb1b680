"""The end of a call: nothing of it stays in memory."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from service.http.calls.call import Call
from tests.service.live_server import running, wait_until
from tests.service.tiny_bundles import write_bundle


@pytest.mark.parametrize("path", ["/predict?model=unknown", "/nowhere", "/v2/models/tiny/infer"])
def test_a_refused_call_goes_without_a_garbage_collection(path: str, tmp_path: Path) -> None:
    write_bundle(tmp_path, "tiny")
    with running(tmp_path) as server, server.client() as client:
        gc.collect()
        gc.disable()
        try:
            assert client.post(path, content=b"{").status_code in (400, 404)
            wait_until(lambda: not any(type(one) is Call for one in gc.get_objects()))
        finally:
            gc.enable()
