"""All cases, of all kinds."""

from __future__ import annotations

from tests.export.gradient.cases.case import Case
from tests.export.gradient.cases.movement import MOVING
from tests.export.gradient.cases.normalization import NORMALIZATION
from tests.export.gradient.cases.pointwise import POINTWISE
from tests.export.gradient.cases.products import PRODUCTS
from tests.export.gradient.cases.windows import WINDOWS

TABLE: list[Case] = [*WINDOWS, *PRODUCTS, *POINTWISE, *NORMALIZATION, *MOVING]
