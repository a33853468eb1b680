"""Writes what each verdict means, and what to try: the service's guide as a section of docs/verdicts.md.

It measures nothing. A test compares the section with what this command would write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.harness.page import parser_of, publish, table
from bench.harness.paths import DOCS
from service.diagnostics.verdicts.glossary import GLOSSARY
from service.http.documentation.guide import INTRODUCTION, TITLE, Rule, sections, thresholds

COMMAND = "python -m bench.guide"
PAGE = DOCS / "verdicts.md"


def guide() -> str:
    """Return the guide as Markdown; its headings have the anchors of the service's page."""
    return "\n\n".join(_blocks())


def _blocks() -> Iterator[str]:
    yield f"## {TITLE}"
    yield from INTRODUCTION
    for _, section, rules in sections():
        yield f"### {section.title}"
        yield section.looked_at
        for rule in rules:
            yield "\n".join(_rule(rule))
        yield f"Measured: {_linked(section.measured)}"
    yield "### Thresholds"
    rows = [f"`{one.name}` | {one.default} | {one.meaning} | {_linked(one.source)}" for one in thresholds()]
    yield table("name in a request | default | meaning | source", rows)
    yield "### Glossary"
    yield "\n".join(f"- **{term}**: {meaning}" for term, meaning in sorted(GLOSSARY.items()))


def _rule(rule: Rule) -> Iterator[str]:
    yield f"- **{rule.name}**: {rule.fires} {rule.explanation.meaning}"
    yield from (f"  {number}. {text}" for number, text in enumerate(rule.explanation.advice, 1))


def _linked(text: str) -> str:
    """Return `text` with the pages that it names as links."""
    return re.sub(r"docs/(\w+\.md)", r"[\1](\1)", text)


def main() -> None:
    publish(parser_of(COMMAND, __doc__, PAGE).parse_args(), COMMAND, guide())


if __name__ == "__main__":
    main()
