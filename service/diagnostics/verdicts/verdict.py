"""Judges the gradients of a network: the findings of all rules, and the worst of them as the verdict."""

from __future__ import annotations

from typing import Any, Final, get_args

from service.diagnostics.schemas.verdict import Finding, State, Verdict
from service.diagnostics.verdicts import rules, seen
from service.diagnostics.verdicts.debugger import debugger_rules
from service.diagnostics.verdicts.evidence import Evidence
from service.diagnostics.verdicts.explanations import explained
from service.diagnostics.verdicts.looked_for import looked_for
from service.diagnostics.verdicts.profile import Profile, profile_of
from service.diagnostics.verdicts.thresholds import Thresholds

SEVERITY: Final[tuple[State, ...]] = get_args(State)


def judge(evidence: Evidence, thresholds: Thresholds) -> tuple[Verdict, list[State]]:
    """Return the verdict on the model, and the state of each layer: the worst finding that names it."""
    profile = profile_of(evidence)
    findings = rules.not_finite(evidence) + rules.dead(evidence, thresholds)
    if profile is not None:
        findings += rules.exploding(evidence, profile, thresholds)
        findings += rules.vanishing(evidence, profile, thresholds)
        findings += rules.imbalanced(evidence, profile, thresholds)
    elif not findings:
        findings = [rules.undetermined(evidence)]
    findings.sort(key=lambda finding: SEVERITY.index(finding.finding))
    looked = looked_for(evidence, profile, thresholds)
    verdict = Verdict(
        state=findings[0].finding if findings else "healthy",
        **_words(evidence, profile, findings, thresholds),
        looked_for=looked.findings,
        not_looked_for=list(dict.fromkeys(looked.missed.values())),
        does_not_apply=dict(looked.impossible),
        findings=findings,
        debugger=debugger_rules(evidence),
        thresholds={name: float(value) for name, value in vars(thresholds).items()},
    )
    return verdict, [_state_of(name, findings) for name in evidence.names]


def _words(
    evidence: Evidence, profile: Profile | None, findings: list[Finding], thresholds: Thresholds
) -> dict[str, Any]:
    """Return the fields of `Explained`: those of the worst finding, or of a healthy model."""
    if findings:
        worst = findings[0]
        return {"because": worst.because, "meaning": worst.meaning, "advice": worst.advice, "link": worst.link}
    assert profile is not None
    return explained("healthy", "no finding", seen.healthy(evidence, profile, thresholds))


def _state_of(name: str, findings: list[Finding]) -> State:
    for finding in findings:
        if name in finding.layers or finding.finding == "undetermined":
            return finding.finding
    return "healthy"
