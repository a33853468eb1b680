"""The files of the page and of the API documentation, requested without a browser."""

from __future__ import annotations

import asyncio
import hashlib
import re

import httpx
import pytest
from fastapi import FastAPI

from service.http.routes import pages

DOCUMENTS = ("/", "/docs", "/redoc")


class Client:
    """A client of an app that holds nothing but the pages."""

    def __init__(self) -> None:
        self.app = FastAPI(docs_url=None, redoc_url=None)
        self.app.include_router(pages.router)

    def get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://contraflow") as client:
                return await client.get(path, headers=headers)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def client() -> Client:
    return Client()


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_names_only_files_that_this_service_serves(client: Client, path: str) -> None:
    html = client.get(path).text
    references = re.findall(r'(?:src|href)="([^"#]+)"', html)
    files = [reference for reference in references if reference.startswith("static/")]
    assert files
    for file in files:
        assert client.get(f"/{file}").status_code == 200, file
    assert not [reference for reference in references if "//" in reference]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_forbids_other_hosts_and_inline_script(client: Client, path: str) -> None:
    policy = client.get(path).headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "script-src" not in policy, "scripts fall back to default-src, which allows this host alone"
    assert "<script>" not in client.get(path).text
    assert not re.search(r'\son\w+="', client.get(path).text)


def test_modules_import_only_modules_that_exist(client: Client) -> None:
    for module in sorted((pages.STATIC / "js").glob("*.js")):
        for imported in re.findall(r'from "\./([\w.]+)"', module.read_text(encoding="utf-8")):
            assert (module.parent / imported).is_file(), f"{module.name} imports {imported}"


def test_third_party_files_are_as_published() -> None:
    vendor = pages.STATIC / "vendor"
    lines = [line.split() for line in (vendor / "SHA256SUMS").read_text().splitlines()]
    listed = {name: digest for digest, name in lines}
    present = {str(file.relative_to(vendor)) for file in vendor.glob("*/*")}
    assert set(listed) == present
    for name, digest in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest, name


def test_every_third_party_package_comes_with_its_licence() -> None:
    packages = [folder for folder in (pages.STATIC / "vendor").iterdir() if folder.is_dir()]
    assert packages
    assert all((folder / "LICENSE").is_file() for folder in packages)


def test_browsers_keep_versioned_files_and_ask_again_for_ours(client: Client) -> None:
    ours = client.get("/static/page.css")
    assert ours.headers["Cache-Control"] == "no-cache"
    assert client.get("/static/page.css", headers={"If-None-Match": ours.headers["ETag"]}).status_code == 304
    assert "immutable" in client.get("/static/vendor/d3-7.9.2/d3.min.js").headers["Cache-Control"]


@pytest.mark.parametrize(
    "path", ["../app.py", "..%2fapp.py", "%2e%2e/bundle_schema.py", "nothing.js", "js", "", "/etc/passwd"]
)
def test_nothing_but_the_static_files_is_served(client: Client, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404
