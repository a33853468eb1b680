"""Writes what was found of two versions as JUnit XML: every limit that is set is a test."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from service.offline.against.formats.sentences import beside, findings, images_in_words
from service.offline.against.outcome import Against
from service.output.printable import printable

SUITE = "contraflow check"


def in_junit(found: Against) -> str:
    """Return the outcome as one JUnit document: a case fails where its limit is broken."""
    states = [limit.state for limit in found.limits]
    counts = {
        "tests": str(len(states)),
        "failures": str(states.count("broken")),
        "errors": str(states.count("not measured")),
        "skipped": "0",
    }
    top = Element("testsuites", {"name": SUITE, **counts})
    title = printable(f"{SUITE}: {found.new.name} against {found.old.name}")
    suite = SubElement(top, "testsuite", {"name": title, **counts})
    for limit in found.limits:
        case = SubElement(suite, "testcase", classname=found.new.name, name=f"{limit.what}: {limit.limit}")
        if limit.state != "kept":
            kind = "failure" if limit.state == "broken" else "error"
            SubElement(case, kind, type=limit.name, message=printable(limit.because, 1000))
        else:
            SubElement(case, "system-out").text = printable(limit.because, 1000)
    rows = [f"{row.what}: {row.before} before, {row.now} now" for row in beside(found)]
    said = [*rows, *findings(found), *found.notes, images_in_words(found)]
    SubElement(suite, "system-out").text = "\n".join(printable(one, 1000) for one in said)
    indent(top)
    return tostring(top, encoding="unicode", xml_declaration=True) + "\n"
