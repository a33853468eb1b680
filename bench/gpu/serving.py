"""The service under load, beside the same graphs in one process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.gpu.load.generators import Generators
from bench.gpu.load.measurement import Measurement
from bench.gpu.load.nets import ServedNets
from bench.gpu.load.tables import section
from bench.gpu.load.turns import plan
from bench.gpu.part import Part, Row, Setting


def measure(setting: Setting) -> Iterator[Row]:
    """Yield rows of three kinds: loads of a running service, bounds, and the host's part of an image."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        ServedNets(setting, Path(scratch)) as nets,
        Generators() as generators,
    ):
        measurement = Measurement(setting, nets, generators)
        for item in plan(setting):
            yield from measurement.rows(item)


PART = Part("serving", measure, section)
