"""Names for the array types that signatures use most; each docstring adds shape and dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""An array of any dtype, as graphs take and give them."""

Float64 = NDArray[np.float64]

Pixels = NDArray[np.uint8]
"""Pictures of 8 bits per channel: [height, width, channels], or [n, height, width, channels] for several."""
