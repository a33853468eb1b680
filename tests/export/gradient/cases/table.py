"""All cases, of all kinds."""

from __future__ import annotations

from tests.export.gradient.cases.case import CASES, Case
from tests.export.gradient.cases.movement import MOVING
from tests.export.gradient.cases.normalization import SAMPLE_NORMALIZATION
from tests.export.gradient.cases.pointwise import POINTWISE
from tests.export.gradient.cases.windows import WINDOWS

TABLE: list[Case] = [*CASES, *POINTWISE, *SAMPLE_NORMALIZATION, *MOVING, *WINDOWS]
