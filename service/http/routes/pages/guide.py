"""`GET /guide/`: the documentation as a site, with its search: guide, reference, reports and decisions.

`make docs` builds it from `docs/`, and so does every build of the package (`deploy/packaging/backend.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from service.errors import NotFound
from service.http.calls.call import Call
from service.http.routes.pages.page import DOCUMENTATION_POLICY, page_headers

SITE: Final = Path(__file__).resolve().parents[3] / "guide"
SITE_POLICY: Final = f"{DOCUMENTATION_POLICY}; script-src 'self' 'unsafe-inline'"
"""The site's generator writes a few scripts into each page. Nothing that a client sent is ever on one."""

router = APIRouter(include_in_schema=False)


@router.get("/guide")
async def guide(_: Call) -> Response:
    """The site's links are relative, so its address needs the slash at the end."""
    return RedirectResponse("guide/")


@router.api_route("/guide/{path:path}", methods=["GET", "HEAD"])
async def file_of_the_guide(call: Call) -> Response:
    """One file of the site.

    Raises:
        NotFound: there is no such file, or the site was not built.
    """
    path: str = call.parameters["path"]
    try:
        response = await StaticFiles(directory=SITE, check_dir=False).get_response(path or "index.html", call.scope)
    except HTTPException:
        raise NotFound(_why_not(path)) from None
    response.headers.update(page_headers(SITE_POLICY))
    return response


def _why_not(path: str) -> str:
    if not (SITE / "index.html").exists():
        return "The guide is not part of this installation. In a clone, `make docs` builds it."
    return f"The guide has no page {path}; /guide/ lists them all."
