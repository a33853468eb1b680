"""Every message that the page on troubleshooting quotes stands in the code, word for word."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.docs.pages import DOCS, ROOT

QUOTED = re.compile(r"^\| (?:\d{3} )?`(.+?)`(?: \||, )", re.MULTILINE)
PLACE = "…"


def messages() -> list[str]:
    """Return what the first column of a table quotes, but for names of stages and slugs."""
    page = (DOCS / "guide" / "troubleshooting.md").read_text(encoding="utf-8")
    return [quoted for quoted in QUOTED.findall(page) if " " in quoted]


def texts() -> Iterator[str]:
    """Yield every text in the code of the service and of the import, with `…` for what is filled in."""
    for folder in ("service", "export"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else PLACE for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


TEXTS = set(texts())


@pytest.mark.parametrize("message", messages())
def test_a_message_of_the_page_stands_in_the_code(message: str) -> None:
    pattern = re.compile(".*".join(map(re.escape, message.strip(PLACE).split(PLACE))), re.DOTALL)
    assert any(pattern.search(text) for text in TEXTS)


def test_the_page_quotes_messages() -> None:
    assert len(messages()) > 30
