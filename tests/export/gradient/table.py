"""All cases, of all kinds."""

from __future__ import annotations

from .cases import CASES, Case
from .cases_movement import MOVING
from .cases_normalization import SAMPLE_NORMALIZATION
from .cases_pointwise import POINTWISE
from .cases_windows import WINDOWS

TABLE: list[Case] = [*CASES, *POINTWISE, *SAMPLE_NORMALIZATION, *MOVING, *WINDOWS]
