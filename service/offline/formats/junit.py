"""Writes what was found as JUnit XML: GitLab, Jenkins, Azure and others show it as tests.

A model is a suite, and every finding a case: it fails where it was found, is skipped where such a network cannot have
it, and is in error where it could not be looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from service.diagnostics.schemas.base import Explained
from service.diagnostics.schemas.verdict import State
from service.diagnostics.verdicts.looked_for import FINDINGS
from service.diagnostics.words import sentence
from service.offline.formats.text import guide
from service.offline.outcome import Judged, Outcome
from service.output.printable import printable

SUITE = "contraflow check"
COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}
"""Attribute of a suite → the element in a case that it counts."""


def in_junit(outcomes: Sequence[Outcome]) -> str:
    """Return all outcomes as one JUnit document."""
    top = Element("testsuites", name=SUITE)
    for outcome in outcomes:
        suite = SubElement(top, "testsuite", name=printable(_name(outcome)))
        if isinstance(outcome, Judged):
            for state in FINDINGS:
                _add_case(suite, outcome, state)
            said = [sentence(outcome.images.in_words), *outcome.notes]
            SubElement(suite, "system-out").text = "\n".join(printable(one, 1000) for one in said)
        else:
            case = SubElement(suite, "testcase", classname=printable(outcome.path), name="can be judged")
            SubElement(case, "error", message=printable(outcome.error, 1000))
        _count(suite, suite)
    _count(top, top)
    indent(top)
    return tostring(top, encoding="unicode", xml_declaration=True) + "\n"


def _name(outcome: Outcome) -> str:
    return f"{SUITE}: {outcome.name if isinstance(outcome, Judged) else outcome.path}"


def _add_case(suite: Element, judged: Judged, state: State) -> None:
    case = SubElement(suite, "testcase", classname=judged.name, name=f"not {state}".replace("not not", "is"))
    found = [finding for finding in judged.verdict.findings if finding.finding == state]
    if found:
        failure = SubElement(case, "failure", type=state, message=printable(found[0].because, 1000))
        failure.text = "\n\n".join(_in_full(finding) for finding in found)
    elif state in judged.verdict.does_not_apply:
        SubElement(case, "skipped", message=judged.verdict.does_not_apply[state])
    elif state not in judged.verdict.looked_for:
        SubElement(case, "error", type="not looked for", message=" ".join(judged.verdict.not_looked_for))


def _in_full(explained: Explained) -> str:
    advice = "\n".join(f"- {one}" for one in explained.advice)
    return f"{printable(explained.because, 1000)}\n{explained.meaning}\nWhat to try:\n{advice}\n{guide(explained)}"


def _count(element: Element, counted: Element) -> None:
    """Write into `element` how many cases it holds, and how they ended."""
    cases = list(counted.iter("testcase"))
    element.set("tests", str(len(cases)))
    for attribute, ending in COUNTED.items():
        element.set(attribute, str(sum(case.find(ending) is not None for case in cases)))
