"""Documents that say what `check` found: a file per format, each a function of all outcomes.

text       for people: state, what it means, what to try
json_      every field, as the service answers a verdict
junit      for GitLab, Jenkins and others that show tests: a suite per model, a case per finding that was looked for
sarif      for GitHub's code scanning: a result per finding
markdown   for a pull request: a table, and the details folded
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from service.offline.formats.json_ import in_json
from service.offline.formats.junit import in_junit
from service.offline.formats.markdown import in_markdown
from service.offline.formats.sarif import in_sarif
from service.offline.formats.text import all_in_text, in_text
from service.offline.outcome import Outcome

__all__ = ["FORMATS", "in_text"]

FORMATS: Final[Mapping[str, Callable[[Sequence[Outcome]], str]]] = MappingProxyType(
    {"text": all_in_text, "json": in_json, "junit": in_junit, "sarif": in_sarif, "markdown": in_markdown}
)
"""Name → the document that says all outcomes."""
