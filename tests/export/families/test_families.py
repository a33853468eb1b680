"""Whole architectures through torch's exporters, against torch autograd; all of them: `make coverage`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest

from export.coverage.exporters import EXPORTERS
from export.coverage.measure import measure
from export.coverage.zoo import FAMILIES
from export.gradient import differentiate, prepare
from export.importing import ImportOptions, import_classifier

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


LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"


@pytest.mark.slow
@pytest.mark.parametrize("file", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_the_onnx_package_s_light_models_import_and_differentiate(file: Path) -> None:
    """Opset 9, a batch of one, weights from ConstantOfShape: equal weights, so norms are finite at most."""
    labels = tuple(str(number) for number in range(1000))
    options = ImportOptions(labels=labels, mean=(0.5,) * 3, std=(0.25,) * 3)
    imported = import_classifier(file, options)
    prepared = prepare(imported.model, constants=imported.constants)
    graph = differentiate(prepared, "weight_norms")
    weighted = [node for node in imported.model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(prepared.layers) == len(weighted)
    onnx.checker.check_model(graph)
