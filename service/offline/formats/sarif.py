"""Writes what was found as SARIF 2.1.0, which GitHub's code scanning shows: a result for every finding.

A model is a file without lines: results are on its first one, and name the layers as logical locations.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from service import __version__
from service.diagnostics.schemas.verdict import Finding
from service.diagnostics.verdicts.explanations import SECTIONS, Explanation, anchor
from service.diagnostics.verdicts.looked_for import FINDINGS
from service.diagnostics.words import sentence
from service.offline.outcome import Judged, Outcome

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
NOT_LOOKED_FOR, UNDETERMINED, UNUSABLE = "not-looked-for", "undetermined/certainty", "unusable"


def in_sarif(outcomes: Sequence[Outcome]) -> str:
    """Return all outcomes as one SARIF log; a healthy model has no result in it, but is among its artifacts."""
    rules = list(_rules())
    places = {rule["id"]: place for place, rule in enumerate(rules)}
    driver = {"name": "Contraflow", "semanticVersion": __version__, "rules": rules}
    results = [
        {**result, "ruleIndex": places[result["ruleId"]]} for outcome in outcomes for result in _results(outcome)
    ]
    status = max(outcome.exit_status for outcome in outcomes)
    run = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": status < 2, "exitCode": status}],
        "artifacts": [_artifact(outcome) for outcome in outcomes],
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _rules() -> Iterator[dict[str, Any]]:
    for state in (*FINDINGS, "undetermined"):
        section = SECTIONS[anchor(state)]
        for name, explanation in section.rules.items():
            yield {
                "id": f"{anchor(state)}/{name}",
                "shortDescription": {"text": f"{section.title}: {name}"},
                "fullDescription": {"text": section.looked_at},
                "help": {"text": _help(explanation), "markdown": _help(explanation)},
            }
    for name, text in (
        (NOT_LOOKED_FOR, "A finding could not be looked for."),
        (UNUSABLE, "The model could not be judged."),
    ):
        yield {"id": name, "shortDescription": {"text": text}, "fullDescription": {"text": text}}


def _help(explanation: Explanation) -> str:
    return "\n".join([explanation.meaning, "", "What to try:", "", *(f"- {one}" for one in explanation.advice)])


def _results(outcome: Outcome) -> Iterator[dict[str, Any]]:
    if not isinstance(outcome, Judged):
        yield _result(outcome, UNUSABLE, "error", sentence(outcome.error), [])
        return
    for finding in outcome.verdict.findings:
        message = " ".join([_message(finding), *(outcome.notes if finding.finding == "not finite" else [])])
        yield _result(outcome, f"{anchor(finding.finding)}/{finding.rule}", "error", message, finding.layers)
    for reason in outcome.verdict.not_looked_for:
        yield _result(outcome, NOT_LOOKED_FOR, "warning", reason, [])


def _message(finding: Finding) -> str:
    return " ".join([finding.because, finding.meaning, "What to try:", *finding.advice])


def _result(outcome: Outcome, rule: str, level: str, message: str, layers: Sequence[str]) -> dict[str, Any]:
    name = outcome.model if isinstance(outcome, Judged) else outcome.path
    # The same finding of the next version of a model is the same alert.
    fingerprint = hashlib.sha256(f"{name}\n{rule}".encode(errors="surrogateescape")).hexdigest()[:16]
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": _uri(outcome.path)}, "region": {"startLine": 1}}
    }
    if layers:
        location["logicalLocations"] = [{"name": layer, "kind": "layer"} for layer in layers]
    return {
        "ruleId": rule,
        "level": level,
        "message": {"text": f"{outcome.name}: {message}" if isinstance(outcome, Judged) else message},
        "locations": [location],
        "partialFingerprints": {"primaryLocationLineHash": f"{fingerprint}:1"},
    }


def _artifact(outcome: Outcome) -> dict[str, Any]:
    said = f"{outcome.name}: {outcome.state}" if isinstance(outcome, Judged) else "cannot be judged"
    return {"location": {"uri": _uri(outcome.path)}, "description": {"text": said}}


def _uri(path: str) -> str:
    """Return a path as the URI of a file, relative where the path is."""
    place = Path(path)
    return place.as_uri() if place.is_absolute() else quote(place.as_posix().encode(errors="surrogateescape"))
