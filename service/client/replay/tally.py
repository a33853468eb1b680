"""Counts what came of all requests, and says it as text and as JSON."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from service.client.replay.differences import IN_WORDS, Compared, Difference, Kind
from service.client.replay.sending import Received
from service.monitoring.capture.reading import CapturedRequest
from service.output.printable import printable

MOST_LISTED: Final = 1000
"""Differences that are listed one by one in JSON."""
MOST_SHOWN: Final = 10
"""Differences that are listed one by one in text."""
DAMAGED: Final = "the line is damaged"


@dataclass
class Tally:
    """Counts of requests, and the numbers whose medians are of interest."""

    against: str
    same: int = 0
    different: Counter[Kind] = field(default_factory=Counter)
    models: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Requests by the model that answered when they were captured, and the one that answers now."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Requests that were not sent, by the reason, and lines that hold none."""
    gaps: array[float] = field(default_factory=lambda: array("d"))
    """The largest |Δ probability| of each request that has probabilities."""
    before_ms: array[float] = field(default_factory=lambda: array("d"))
    now_ms: array[float] = field(default_factory=lambda: array("d"))
    listed: list[tuple[CapturedRequest, Difference]] = field(default_factory=list)
    """The first differences, without bodies and answers."""

    @property
    def compared(self) -> int:
        return self.same + self.different.total()

    def add(self, captured: CapturedRequest, received: Received, result: Compared) -> None:
        """Count one request that was answered again."""
        self.before_ms.append(captured.latency_ms)
        self.now_ms.append(received.latency_ms)
        if result.model is not None:
            self.models[captured.model or "none", result.model] += 1
        if result.gap is not None:
            self.gaps.append(result.gap)
        if result.difference is None:
            self.same += 1
            return
        self.different[result.difference.kind] += 1
        if len(self.listed) < MOST_LISTED:
            self.listed.append((captured.without_contents(), result.difference))

    def as_text(self) -> str:
        """Return a short table, and the first differences."""
        rows = [("requests sent again", f"{self.compared:,}"), ("same answer", f"{self.same:,}")]
        rows += [(IN_WORDS[kind], f"{self.different[kind]:,}") for kind in IN_WORDS if self.different[kind]]
        rows += [
            ("answered by", f"{before}, now {now} ({count:,})")
            for (before, now), count in self.models.most_common(MOST_SHOWN)
        ]
        if self.gaps:
            rows.append(("|Δ probability|", f"median {median(self.gaps):.2g}, largest {max(self.gaps):.2g}"))
        if self.compared:
            before, now = median(self.before_ms), median(self.now_ms)
            rows.append(("median latency", f"{before:.2f} ms when captured, {now:.2f} ms now"))
        rows += [("not sent", f"{count:,}: {reason}") for reason, count in sorted(self.left_out.items())]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value}" for name, value in rows]
        if self.listed:
            total, shown = self.different.total(), self.listed[:MOST_SHOWN]
            lines += ["", f"the first {len(shown)} of {total:,} differences:" if total > len(shown) else "differences:"]
            lines += [_one_line(captured, difference) for captured, difference in shown]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the same as an object, with the first `MOST_LISTED` differences."""
        return {
            "against": self.against,
            "requests": self.compared,
            "same": self.same,
            "different": {kind: self.different[kind] for kind in IN_WORDS},
            "models": [
                {"captured": before, "now": now, "requests": count}
                for (before, now), count in self.models.most_common()
            ],
            "probability_gap": {
                "median": _finite(median(self.gaps)) if self.gaps else None,
                "largest": _finite(max(self.gaps)) if self.gaps else None,
            },
            "median_latency_ms": {
                "captured": median(self.before_ms) if self.compared else None,
                "now": median(self.now_ms) if self.compared else None,
            },
            "not_sent": dict(sorted(self.left_out.items())),
            "differences": [
                {
                    "id": captured.id,
                    "path": captured.path,
                    "query": captured.query,
                    "kind": difference.kind,
                    "difference": difference.words,
                }
                for captured, difference in self.listed
            ],
        }


def _one_line(captured: CapturedRequest, difference: Difference) -> str:
    target = f"{captured.path}?{captured.query}" if captured.query else captured.path
    return printable(f"{captured.id}  {target}  {IN_WORDS[difference.kind]}: {difference.words}")


def _finite(number: float) -> float | str:
    return number if math.isfinite(number) else "Infinity"
