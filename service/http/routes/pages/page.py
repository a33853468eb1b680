"""The page for people at `/`, the API documentation at `/docs` and `/redoc`, and the files all three need.

Everything is served from this process: no content delivery network, no build step. The content-security
policy makes that a promise the browser keeps: nothing may be fetched from, or sent to, another host.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from service.http.answers.responses import Answer, json_answer
from service.http.calls.addresses import nothing_at
from service.http.calls.call import Call

STATIC: Final = Path(__file__).resolve().parents[3] / "static"

PLOT_STYLE: Final = "'sha256-+TfQir1nvDucAdvE6XUQBt4ayUjpAWkbw2kCdSfekHM='"
"""Digest of the one style element that Observable Plot 0.6.17 writes into a chart of class `plot`."""

SAME_HOST: Final = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_POLICY: Final = f"{SAME_HOST}; style-src 'self' {PLOT_STYLE}; img-src 'self' blob: data:"
DOCUMENTATION_POLICY: Final = (
    # Swagger UI and ReDoc write their styles from script, and ReDoc searches in a worker made from a blob.
    f"{SAME_HOST}; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; worker-src 'self' blob:"
)

REVALIDATE: Final = "no-cache"
FOR_EVER: Final = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def page(call: Call) -> Response:
    """The page: classify a photograph and see its gradients, layer by layer.

    Its links are relative, so under a prefix its address needs the slash at the end.
    """
    path: bytes = call.scope["raw_path"]
    if not path.endswith(b"/"):
        query: bytes = call.scope["query_string"]
        return RedirectResponse(f"{path.decode().rpartition('/')[2]}/{'?' if query else ''}{query.decode('latin-1')}")
    return _document("page.html", PAGE_POLICY)


@router.get("/docs")
async def swagger(_: Call) -> Response:
    """The interactive API documentation (Swagger UI)."""
    return _document("docs.html", DOCUMENTATION_POLICY)


@router.get("/redoc")
async def redoc(_: Call) -> Response:
    """The API reference (ReDoc)."""
    return _document("redoc.html", DOCUMENTATION_POLICY)


@router.get("/openapi.json", response_model=None)
async def openapi(call: Call) -> Answer:
    """The interface as an OpenAPI document, for `/docs`, `/redoc` and generators of clients."""
    return json_answer(call.service.openapi_document())


@router.get("/favicon.ico")
async def favicon(_: Call) -> Response:
    """Browsers ask for this name whatever the page says."""
    return FileResponse(STATIC / "favicon.svg", headers={"Cache-Control": REVALIDATE})


@router.api_route("/static/{path:path}", methods=["GET", "HEAD"])
async def static_file(call: Call) -> Response:
    """One file of `service/static`.

    Third-party files live under a folder that names their version, so browsers may keep them for ever.

    Raises:
        NotFound: there is no such file.
    """
    path: str = call.parameters["path"]
    try:
        response = await StaticFiles(directory=STATIC).get_response(path, call.scope)
    except HTTPException:
        raise nothing_at(call.path) from None
    response.headers["Cache-Control"] = FOR_EVER if path.startswith("vendor/") else REVALIDATE
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _document(name: str, policy: str) -> Response:
    return FileResponse(STATIC / name, media_type="text/html", headers=page_headers(policy))


def page_headers(policy: str) -> dict[str, str]:
    """Return the headers of a page, with its content-security policy."""
    return {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": REVALIDATE,
    }
