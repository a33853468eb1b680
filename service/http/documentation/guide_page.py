"""The guide to the verdicts as an HTML page, with the glossary at its end. It has no script."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from html import escape

from service.diagnostics.verdicts.explanations import Section
from service.diagnostics.verdicts.glossary import GLOSSARY
from service.http.documentation.guide import INTRODUCTION, TITLE, Rule, sections, thresholds

HEAD = f"""\
<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>{TITLE} · Contraflow</title>
  <link rel="icon" href="../static/favicon.svg">
  <link rel="stylesheet" href="../static/page.css">
  <link rel="stylesheet" href="../static/guide.css">
</head>
<body>
<a class="skip" href="#main">Skip to the verdicts</a>
<header class="masthead">
  <a class="wordmark" href="../">
    <svg viewBox="0 0 32 32" aria-hidden="true"><path class="forward" d="M6 11h18m-5-5 5 5-5 5"/><path class="backward" d="M26 22H8m5-5-5 5 5 5"/></svg>
    Contraflow
  </a>
  <nav aria-label="Documentation"><a href="../">Page</a><a href="../guide/">Guide</a><a href="../docs">API</a><a href="../redoc">Reference</a></nav>
</header>
"""  # noqa: E501  (the drawing is the page's)


@cache
def guide_page() -> bytes:
    """Return the page, made on its first use. Its links are relative, so a prefix of the path does no harm."""
    body = [
        f'<section class="lead"><h1>{TITLE}</h1>{_paragraphs(INTRODUCTION)}</section>',
        _contents(),
        *(_section(anchor, section, rules) for anchor, section, rules in sections()),
        _thresholds(),
        _glossary(),
    ]
    content = "\n".join(body)
    return f'{HEAD}<main id="main" class="guide" tabindex="-1">\n{content}\n</main>\n</body>\n</html>\n'.encode()


def _contents() -> str:
    links = [(anchor, section.title) for anchor, section, _ in sections()]
    links += [("thresholds", "Thresholds"), ("glossary", "Glossary")]
    entries = "".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title in links)
    return f'<nav class="contents" aria-label="Verdicts">{entries}</nav>'


def _section(anchor: str, section: Section, rules: list[Rule]) -> str:
    return (
        f'<section class="card" id="{anchor}" aria-labelledby="{anchor}-title">\n'
        f'<h2 id="{anchor}-title">{escape(section.title)}</h2>\n'
        f"<p><b>What is looked at.</b> {inline(section.looked_at)}</p>\n"
        f"{''.join(map(_rule, rules))}"
        f'<p class="measured"><b>Measured.</b> {inline(section.measured)}</p>\n</section>'
    )


def _rule(rule: Rule) -> str:
    advice = "".join(f"<li>{inline(text)}</li>" for text in rule.explanation.advice)
    tried = f"<dt>What to try</dt><dd><ol>{advice}</ol></dd>" if advice else ""
    return (
        f'<article class="rule"><h3>{escape(rule.name)}</h3><dl>'
        f"<dt>What is seen</dt><dd>{inline(rule.fires)}</dd>"
        f"<dt>What it means</dt><dd>{inline(rule.explanation.meaning)}</dd>"
        f"{tried}</dl></article>\n"
    )


def _thresholds() -> str:
    rows = "".join(
        f"<tr><th scope='row'><code>{one.name}</code></th><td>{one.default}</td>"
        f"<td class='words'>{inline(one.meaning)}</td><td class='words'>{inline(one.source)}</td></tr>"
        for one in thresholds()
    )
    return (
        '<section class="card" id="thresholds" aria-labelledby="thresholds-title">'
        '<h2 id="thresholds-title">Thresholds</h2><div class="scroll" tabindex="0" role="region" '
        'aria-labelledby="thresholds-title"><table><thead><tr><th scope="col">name in a request</th>'
        '<th scope="col">default</th><th scope="col" class="words">meaning</th>'
        f'<th scope="col" class="words">source</th></tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _glossary() -> str:
    terms = "".join(
        f'<dt id="term-{term.replace(" ", "-")}">{escape(term)}</dt><dd>{inline(meaning)}</dd>'
        for term, meaning in sorted(GLOSSARY.items())
    )
    return (
        '<section class="card" id="glossary" aria-labelledby="glossary-title">'
        f'<h2 id="glossary-title">Glossary</h2><dl class="terms">{terms}</dl></section>'
    )


def _paragraphs(texts: Iterable[str]) -> str:
    return "".join(f"<p>{inline(text)}</p>" for text in texts)


def inline(text: str) -> str:
    """Return `text` as HTML: `code`, *emphasis*, and pages of the repository's `docs/` as links to the served guide."""
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    marked = re.sub(r"\*([^*\s][^*]*)\*", r"<em>\1</em>", marked)
    return re.sub(r"docs/([\w/-]+)\.md", r'<a href="../guide/\1.html">\g<0></a>', marked)
