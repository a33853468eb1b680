"""The files of the page and of the API documentation, requested without a browser."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import httpx
import pytest

from service.http.routes.pages.page import STATIC
from tests.service.live_server import running

DOCUMENTS = ("/", "/docs", "/redoc")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Asks a service without bundles."""
    with running(tmp_path_factory.mktemp("bundles")) as server, server.client() as client:
        yield client


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_names_only_files_that_this_service_serves(client: httpx.Client, path: str) -> None:
    html = client.get(path).text
    references = re.findall(r'(?:src|href)="([^"#]+)"', html)
    files = [reference for reference in references if reference.startswith("static/")]
    assert files
    for file in files:
        assert client.get(f"/{file}").status_code == 200, file
    assert not [reference for reference in references if "//" in reference]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_forbids_other_hosts_and_inline_script(client: httpx.Client, path: str) -> None:
    policy = client.get(path).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "script-src" not in policy, "scripts fall back to default-src, which allows this host alone"
    assert "<script>" not in client.get(path).text
    assert not re.search(r'\son\w+="', client.get(path).text)


def test_modules_import_only_modules_that_exist(client: httpx.Client) -> None:
    modules = sorted((STATIC / "js").rglob("*.js"))
    found = {module: re.findall(r'from "([^"]+)"', module.read_text("utf-8")) for module in modules}
    imports = [(module, name) for module, names in found.items() for name in names]
    assert imports
    for module, name in imports:
        assert name.startswith("."), f"{module.name} imports {name} from somewhere else"
        assert (module.parent / name).is_file(), f"{module.name} imports {name}"


def test_third_party_files_are_as_published() -> None:
    vendor = STATIC / "vendor"
    lines = [line.split() for line in (vendor / "SHA256SUMS").read_text().splitlines()]
    listed = {name: digest for digest, name in lines}
    present = {str(file.relative_to(vendor)) for file in vendor.glob("*/*")}
    assert set(listed) == present
    for name, digest in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest, name


def test_every_third_party_package_comes_with_its_licence() -> None:
    packages = [folder for folder in (STATIC / "vendor").iterdir() if folder.is_dir()]
    assert packages
    assert all((folder / "LICENSE").is_file() for folder in packages)


def test_browsers_keep_versioned_files_and_ask_again_for_ours(client: httpx.Client) -> None:
    ours = client.get("/static/page.css")
    assert ours.headers["Cache-Control"] == "no-cache"
    assert client.get("/static/page.css", headers={"If-None-Match": ours.headers["ETag"]}).status_code == 304
    assert "immutable" in client.get("/static/vendor/d3-7.9.2/d3.min.js").headers["Cache-Control"]


@pytest.mark.parametrize(
    "path", ["../app.py", "..%2fapp.py", "%2e%2e/bundle_schema.py", "nothing.js", "js", "", "/etc/passwd"]
)
def test_nothing_but_the_static_files_is_served(client: httpx.Client, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404
