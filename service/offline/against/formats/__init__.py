"""Documents that say what was found of two versions: a file per format, each a function of the outcome.

sentences   the findings in sentences, the same in every format
text        for people at a terminal
json_       every field
junit       for GitLab, Jenkins and others that show tests: a case per limit
markdown    for a pull request: the limits, a table, and the details folded
page        for people: one HTML file without scripts
sections    its parts
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from service.offline.against.formats.json_ import in_json
from service.offline.against.formats.junit import in_junit
from service.offline.against.formats.markdown import in_markdown
from service.offline.against.formats.page import in_html
from service.offline.against.formats.text import in_text
from service.offline.against.outcome import Against

__all__ = ["FORMATS", "in_text"]

FORMATS: Final[Mapping[str, Callable[[Against], str]]] = MappingProxyType(
    {"text": in_text, "json": in_json, "junit": in_junit, "markdown": in_markdown, "html": in_html}
)
"""Name → the document."""
