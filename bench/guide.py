"""Writes what each verdict and each of its words mean, from the service's own texts.

docs/reference/verdicts.md gets the guide to the verdicts, docs/guide/glossary.md the terms. The command measures
nothing. A test compares the sections with what this command would write.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.harness.page import linked, parser_of, publish, replace_section, table
from bench.harness.paths import DOCS
from service.diagnostics.verdicts.explanations import GUIDE_PAGE
from service.diagnostics.verdicts.glossary import GLOSSARY
from service.http.documentation.guide import INTRODUCTION, TITLE, Rule, sections, thresholds

COMMAND: Final = "python -m bench.guide"
PAGE: Final = DOCS.parent / GUIDE_PAGE
GLOSSARY_PAGE: Final = DOCS / "guide" / "glossary.md"


def guide() -> str:
    """Return the guide as Markdown; its headings have the anchors of the service's page."""
    return linked("\n\n".join(_blocks()), PAGE)


def terms() -> str:
    """Return the terms of the verdicts as a Markdown list."""
    return linked("\n".join(f"- **{term}**: {meaning}" for term, meaning in sorted(GLOSSARY.items())), GLOSSARY_PAGE)


def _blocks() -> Iterator[str]:
    yield f"## {TITLE}"
    yield from INTRODUCTION
    for _, section, rules in sections():
        yield f"### {section.title}"
        yield section.looked_at
        for rule in rules:
            yield "\n".join(_rule(rule))
        yield f"Measured: {section.measured}"
    yield "### Thresholds"
    rows = [f"`{one.name}` | {one.default} | {one.meaning} | {one.source}" for one in thresholds()]
    yield table("name in a request | default | meaning | source", rows)


def _rule(rule: Rule) -> Iterator[str]:
    yield f"- **{rule.name}**: {rule.fires} {rule.explanation.meaning}"
    yield from (f"    {number}. {text}" for number, text in enumerate(rule.explanation.advice, 1))


def _parser() -> argparse.ArgumentParser:
    parser = parser_of(COMMAND, __doc__, PAGE)
    parser.add_argument("--glossary", type=Path, default=GLOSSARY_PAGE, help="page of the terms")
    return parser


def main() -> None:
    options = _parser().parse_args()
    publish(options, COMMAND, guide())
    print(terms(), flush=True)
    if not options.print:
        replace_section(options.glossary, COMMAND, terms())


if __name__ == "__main__":
    main()
