"""Forms and bodies as real clients write them: curl, Node's fetch, requests, urllib3, aiohttp."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.programs import needs
from tests.service.live_server import PATIENCE_SECONDS, LiveServer, picture

RED, GREEN = picture("red"), picture((0, 255, 0))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "фото 1.png").write_bytes(RED)
    (tmp_path / "b.png").write_bytes(GREEN)
    (tmp_path / "empty").write_bytes(b"")
    return tmp_path


def labels_in(text: str) -> list[str]:
    answer: dict[str, Any] = json.loads(text)
    assert "predictions" in answer, text
    return [prediction["labels"][0]["label"] for prediction in answer["predictions"]]


CURL = {
    "a file under any name": (["-F", "file=@фото 1.png"], ["red"]),
    "files in brackets": (["-F", "images[]=@b.png", "-F", "images[]=@фото 1.png"], ["green", "red"]),
    "a file's content for a text": (["-F", "images=<b.png"], ["green"]),
    "a file in base64": (["-F", "f=@b.png;encoder=base64"], ["green"]),
    "an option beside": (["-F", "f=@b.png", "-F", "top_k=1"], ["green"]),
    "bytes of no type": (["-H", "Content-Type:", "--data-binary", "@b.png"], ["green"]),
    "bytes of curl's own type": (["--data-binary", "@b.png"], ["green"]),
    "bytes in chunks": (["-H", "Transfer-Encoding: chunked", "--data-binary", "@b.png"], ["green"]),
}


@needs("curl")
@pytest.mark.parametrize("how", CURL)
def test_curl(server: LiveServer, files: Path, how: str) -> None:
    options, labels = CURL[how]
    command = ["curl", "--silent", *options, f"{server.url}/predict"]
    done = subprocess.run(command, cwd=files, capture_output=True, text=True, check=True)
    assert labels_in(done.stdout) == labels


NODE = """
const fs = require("fs"), zlib = require("zlib");
const [url, way] = process.argv.slice(-2);
const red = fs.readFileSync("фото 1.png"), text = red.toString("base64");
const form = new FormData();
form.append("upload", new Blob([red], {type: "image/png"}), "фото 1.png");
form.append("another", new Blob([]), "");
const stream = () => new Blob([red]).stream().pipeThrough(new CompressionStream("gzip"));
const ways = {
  form: {body: form},
  blob: {body: new Blob([red])},
  text: {body: JSON.stringify({images: [text]})},
  url: {body: JSON.stringify({image: "data:image/png;base64," + encodeURIComponent(text)})},
  urlsafe: {body: JSON.stringify({images: red.toString("base64url")})},
  gzip: {body: zlib.gzipSync(red), headers: {"Content-Encoding": "gzip"}},
  raw: {body: zlib.deflateRawSync(red), headers: {"Content-Encoding": "deflate"}},
  stream: {body: stream(), duplex: "half", headers: {"Content-Encoding": "gzip"}},
};
fetch(url, {method: "POST", ...ways[way]}).then((answer) => answer.text()).then(console.log);
"""


@needs("node")
@pytest.mark.parametrize("way", ["form", "blob", "text", "url", "urlsafe", "gzip", "raw", "stream"])
def test_nodes_fetch(server: LiveServer, files: Path, way: str) -> None:
    command = ["node", "-e", NODE, "--", f"{server.url}/predict", way]
    done = subprocess.run(command, cwd=files, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert labels_in(done.stdout) == ["red"]


def test_requests(server: LiveServer) -> None:
    requests = pytest.importorskip("requests")
    several = [("file", ("фото.png", RED, "image/png")), ("file", GREEN), ("top_k", (None, "1"))]
    answer = requests.post(f"{server.url}/predict", files=several, timeout=PATIENCE_SECONDS)
    assert labels_in(answer.text) == ["red", "green"]


def test_urllib3(server: LiveServer) -> None:
    urllib3 = pytest.importorskip("urllib3")
    fields = [("images", ("фото.png", RED)), ("images", ("b.png", GREEN, "image/png")), ("model", "tiny")]
    answer = urllib3.request("POST", f"{server.url}/predict", fields=fields)
    assert labels_in(answer.data.decode()) == ["red", "green"]


def test_aiohttp(server: LiveServer) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def post(**options: Any) -> str:
        async with aiohttp.ClientSession() as session, session.post(f"{server.url}/predict", **options) as answer:
            return str(await answer.text())

    form = aiohttp.FormData(quote_fields=False)
    form.add_field("upload[0]", RED, filename="фото.png")
    form.add_field("upload[1]", io.BytesIO(GREEN), content_type="image/png")
    form.add_field("top_k", "1")
    assert labels_in(asyncio.run(post(data=form))) == ["red", "green"]
    assert labels_in(asyncio.run(post(data=RED, compress="deflate"))) == ["red"]
    assert labels_in(asyncio.run(post(data=RED, compress="gzip"))) == ["red"]
    parts = aiohttp.MultipartWriter("mixed")
    parts.append(RED, {"Content-Type": "image/png"})
    assert labels_in(asyncio.run(post(data=parts))) == ["red"]
