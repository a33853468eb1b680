"""Clients generated from the OpenAPI document of a running service can call it.

Python: `openapi-python-client`. TypeScript: `openapi-typescript`, where npm is there and reaches its registry.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.programs import needs
from tests.service.live_server import PATIENCE_SECONDS, LiveServer, running

REPOSITORY = Path(__file__).parents[4]
SHIP = REPOSITORY / "tests" / "photographs" / "ship.jpg"
KEY = "open sesame"
PACKAGES = ("openapi-typescript@7.13.0", "typescript@5.9.3")

PYTHON_CALLS = """
import base64, json, sys
from client import AuthenticatedClient
from client.api.diagnostics import compare, gradients
from client.api.health import metrics, ready
from client.api.models import describe_model, list_models
from client.api.open_inference_protocol import infer, infer_with_version, load_model, unload_model
from client.api.open_inference_protocol import model_metadata_with_version, repository_index
from client.api.predict import predict
from client.models import CompareJsonBody, GradientsFilesBody, InferBody, InferInput, LabelledImage
from client.models import PredictFilesBody, PredictJsonBody, Problem
from client.types import File

address, key, ship = sys.argv[1:]
client = AuthenticatedClient(base_url=address, token=key, timeout=60, raise_on_unexpected_status=True)
wrong = AuthenticatedClient(base_url=address, token="no", raise_on_unexpected_status=True)
content = open(ship, "rb").read()
text = base64.b64encode(content).decode()

def best(answer):
    return [one.labels[0].label for one in answer.predictions]

parts = PredictFilesBody(images=[File(content, "a.jpg"), File(content, "b")])
infer_body = InferBody(inputs=[InferInput(name="image", datatype="BYTES", shape=[1], data=[text])])
inferred = infer.sync(name="resnet20", client=client, body=infer_body)
problem = predict.sync(client=client, body=File(payload=b"no picture"))
assert isinstance(problem, Problem)
print(json.dumps({
    "raw": best(predict.sync(client=client, body=File(payload=content), top_k=1)),
    "json": best(predict.sync(client=client, body=PredictJsonBody(images=[text, LabelledImage(data=text, label=8)]))),
    "parts": best(predict.sync(client=client, body=parts)),
    "losses of": [s.label for s in gradients.sync(
        client=client, body=GradientsFilesBody(images=[File(content, "a.jpg")], labels=["cat"]), include="activations"
    ).samples],
    "compared": [m.model for m in compare.sync(
        client=client, body=CompareJsonBody(images=[text]), model=["resnet20", "plain20"]
    ).models],
    "inferred": max(range(10), key=inferred.outputs[1].data.__getitem__),
    "of version 1": infer_with_version.sync(name="resnet20", version="1", client=client, body=infer_body).model_version,
    "tensors": model_metadata_with_version.sync(name="resnet20", version="1", client=client).inputs[0].shape,
    "labels": len(describe_model.sync(name="plain20", client=client).labels),
    "served": [m.name for m in list_models.sync(client=client).models],
    "no picture": problem.status,
    "no model": describe_model.sync(name="nobody", client=client).status,
    "no key": predict.sync(client=wrong, body=File(payload=content)).status,
    "ready": ready.sync(client=wrong).ready,
    "metrics": "contraflow" in metrics.sync(client=client),
    "loaded": [
        operation.sync_detailed(name="plain20", client=client).status_code for operation in (unload_model, load_model)
    ],
    "index": [one.state for one in repository_index.sync(client=client)],
}))
"""

EXPECTED = {
    "raw": ["ship"],
    "json": ["ship", "ship"],
    "parts": ["ship", "ship"],
    "losses of": ["cat"],
    "compared": ["resnet20", "plain20"],
    "inferred": 8,
    "of version 1": "1",
    "tensors": [-1, 3, 32, 32],
    "labels": 10,
    "served": ["plain20", "resnet20"],
    "no picture": 415,
    "no model": 404,
    "no key": 401,
    "ready": True,
    "metrics": True,
    "loaded": [200, 200],
    "index": ["READY", "READY"],
}

TYPESCRIPT = """
import type { operations, paths } from "./schema";

type Predictions = paths["/predict"]["post"]["responses"]["200"]["content"]["application/json"];
type Body = NonNullable<paths["/predict"]["post"]["requestBody"]>["content"]["application/json"];
type Problem = operations["predict"]["responses"]["default"]["content"]["application/problem+json"];
type Version = operations["infer_with_version"]["parameters"]["path"]["version"];
type Query = NonNullable<operations["gradients"]["parameters"]["query"]>;

export const best = (answer: Predictions): string | undefined => answer.predictions[0]?.labels[0]?.label;
export const body: Body = { images: ["…", { data: "…", label: 8 }, { data: "…", label: "cat" }] };
export const after = (problem: Problem): number => problem.retry_after_ms ?? 0;
export const version: Version = "1";
export const query: Query = { label: "0", format: "svg" };
// @ts-expect-error: an image is needed
export const none: Body = {};
// @ts-expect-error: a version in a path is never null
export const nothing: Version = null;
// @ts-expect-error: there is no such plot
export const pdf: Query = { format: "pdf" };
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Two of our models behind a key."""
    folder = tmp_path_factory.mktemp("bundles")
    for name in ("plain20", "resnet20"):
        shutil.copytree(REPOSITORY / "models" / "bundles" / name, folder / name)
    by_name: dict[str, Any] = {"model_control": "explicit", "load_models": ("*",)}  # every operation is documented then
    with running(folder, **by_name, api_keys=("sha256:" + hashlib.sha256(KEY.encode()).hexdigest(),)) as server:
        yield server


@pytest.mark.slow
def test_a_generated_python_client_predicts(server: LiveServer, tmp_path: Path) -> None:
    pytest.importorskip("openapi_python_client")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--url", f"{server.url}/openapi.json"]
    command += ["--output-path", str(tmp_path / "client"), "--meta", "none", "--fail-on-warning"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it formats what it wrote, with ruff
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert (done.returncode, "WARNING" in done.stdout) == (0, False), done.stdout + done.stderr
    methods = httpx.get(f"{server.url}/openapi.json", timeout=PATIENCE_SECONDS).json()["paths"].values()
    written = [file for file in (tmp_path / "client" / "api").glob("*/*.py") if file.name != "__init__.py"]
    assert len(written) == sum(map(len, methods)), "every operation is there"
    calls = [sys.executable, "-c", PYTHON_CALLS, server.url, KEY, str(SHIP)]
    done = subprocess.run(calls, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout) == EXPECTED


@pytest.mark.slow
@needs("npm")
def test_generated_types_compile_and_tell_right_from_wrong(server: LiveServer, tmp_path: Path) -> None:
    install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(tmp_path), *PACKAGES]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm cannot install openapi-typescript: {done.stderr[-300:]}")
    tools = tmp_path / "node_modules" / ".bin"
    command = [
        str(tools / "openapi-typescript"),
        f"{server.url}/openapi.json",
        "--output",
        str(tmp_path / "schema.d.ts"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "use.ts").write_text(TYPESCRIPT)
    done = subprocess.run(
        [str(tools / "tsc"), "--strict", "--noUncheckedIndexedAccess", "--noEmit", "use.ts", "schema.d.ts"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
