"""McNemar's test: are two versions of a model wrong equally often, on the same images?"""

from __future__ import annotations

import math
from typing import Final

from service.diagnostics.schemas.versions import McNemar

MOST_EXACT: Final = 1000
"""Images that changed up to which the test is exact. Beyond, its two forms agree in all digits that anybody reads."""


def mcnemar(negative: int, positive: int) -> McNemar:
    """Test whether as many images became wrong as became right (McNemar 1947, Psychometrika 12, 153–157).

    With few such images the p-value is that of the two-sided binomial test of one half, which is exact. With many it is
    from the χ² distribution of one degree of freedom, with Edwards' continuity correction.

    Args:
        negative: images that were right before and are wrong now.
        positive: images that were wrong before and are right now.
    """
    changed, fewer = negative + positive, min(negative, positive)
    if changed <= MOST_EXACT:
        ways = sum(math.comb(changed, count) for count in range(fewer + 1))
        return McNemar(p_value=min(1.0, 2 * ways / 2**changed), method="exact")
    statistic = max(abs(negative - positive) - 1, 0) ** 2 / changed
    return McNemar(p_value=math.erfc(math.sqrt(statistic / 2)), method="chi-square")
