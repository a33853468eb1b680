"""Whole architectures through torch's exporters, against torch autograd; all of them: `make coverage`."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from export.coverage.exporters import EXPORTERS
from export.coverage.families import FAMILIES
from export.coverage.measure import measure

SMALL = ("MLP-Mixer", "MobileNet v1", "ViT", "SqueezeNet 1.1")
BOUND = 1e-3


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torchvision") is None, reason="the families are torchvision's")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("family", [family for family in FAMILIES if family.name in SMALL], ids=lambda f: f.name)
def test_every_norm_of_an_imported_family_is_torch_s(family: object, exporter: str) -> None:
    measured = measure(family, EXPORTERS[exporter])  # type: ignore[arg-type]
    assert not measured.unmatched
    assert measured.differences["weight"] <= BOUND
    assert measured.worst <= BOUND
