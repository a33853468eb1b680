"""The tables of errors have every error of the service, with its status and its title, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator

from service.contract.errors import ReportedError
from service.errors import LoaderEnded, QueueFull, RateLimited, ServiceError
from service.images.errors import ImageError
from tests.docs.pages import DOCS

PAGE = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (\d{3}) \| `([a-z-]+)` \| ([^|]+) \|", re.MULTILINE)


def kinds(kind: type[ReportedError]) -> Iterator[type[ReportedError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def test_every_error_has_its_row() -> None:
    errors = {(str(kind.status), kind.slug, kind.title) for root in (ServiceError, ImageError) for kind in kinds(root)}
    rows = ROW.findall(PAGE)
    assert len(rows) == len(set(rows))
    assert set(rows) == errors


def test_what_is_worth_another_attempt_stands_among_the_errors_that_pass() -> None:
    passing = PAGE.partition("## Errors that pass\n")[2].partition("\n## ")[0]
    assert {kind.slug for kind in (RateLimited, QueueFull, LoaderEnded)} <= {
        slug for _, slug, _ in ROW.findall(passing)
    }
    assert {status for status, _, _ in ROW.findall(passing)} == {"429", "503", "504"}
