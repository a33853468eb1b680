"""`GET /docs/verdicts` and `GET /docs/glossary`: what verdicts and their words mean, and what to try."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from service.diagnostics.verdicts.glossary import GLOSSARY
from service.http.answers.responses import Answer, json_answer
from service.http.answers.schemas import Glossary
from service.http.calls.call import Call
from service.http.documentation.guide_page import guide_page
from service.http.routes.pages.page import SAME_HOST, page_headers

router = APIRouter(prefix="/docs", tags=["documentation"])


@router.get("/verdicts", response_class=HTMLResponse)
async def verdicts(_: Call) -> Response:
    """The guide to the verdicts: for each what is seen, what it means, what to try, and where it is measured."""
    return HTMLResponse(guide_page(), headers=page_headers(SAME_HOST))


@router.get("/glossary", response_model=Glossary)
async def glossary(_: Call) -> Answer:
    """The words of the answers and the page, explained."""
    return json_answer({"terms": dict(GLOSSARY)})
