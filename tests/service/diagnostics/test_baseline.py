"""Distance of gradients from those of the training images, and which layers moved between two versions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from service.contract.bundle_schema import Bundle
from service.diagnostics.gradients import Measured, diagnose
from service.diagnostics.schemas.gradients import Comparison, UnlikeItself
from service.diagnostics.verdicts.thresholds import Thresholds
from tests.service.live_server import running

ROOT = Path(__file__).parents[3]
BUNDLES = ROOT / "models" / "bundles"
CAT = (ROOT / "tests" / "photographs" / "cat.jpg").read_bytes()
RESNET20 = Bundle.model_validate_json((BUNDLES / "resnet20" / "bundle.json").read_text())


def norms(logits: np.ndarray, factor: float, size: float) -> dict[str, np.ndarray]:
    """Norms of one image: in every layer r is `factor` times the training images' median; ‖dL/dlogits‖ is `size`."""
    assert RESNET20.baseline is not None
    middle = RESNET20.baseline.quantiles.index(0.5)
    medians = np.array([[RESNET20.baseline.scaled_gradient_norm[layer.name][middle] for layer in RESNET20.layers]])
    found = {f"{name}_gradient_norm": medians * factor * size for name in ("activation", "weight", "scaled")}
    biases = sum(layer.bias for layer in RESNET20.layers)
    others = {"other": len(RESNET20.other_parameters), "bias": biases}
    found |= {f"{name}_gradient_norm": np.ones((1, count)) for name, count in others.items()}
    return {"logits": logits, **found}


def unlike_itself(measured: Measured) -> UnlikeItself:
    found = diagnose(RESNET20, measured, Thresholds()).unlike_itself
    assert found is not None
    return found


@pytest.mark.parametrize(("factor", "unlike"), [(1.0, False), (30.0, True), (1 / 30, True)])
def test_a_model_is_unlike_itself_where_most_layers_leave_the_recorded_range(factor: float, unlike: bool) -> None:
    logits = np.zeros((1, 10), np.float32)
    size = float(np.sqrt(0.9**2 + 9 * 0.1**2))
    found = unlike_itself(Measured(norms(logits, factor, size), np.array([3])))
    assert found.unlike == unlike
    assert (len(found.layers) > 10) == unlike


def test_an_image_of_which_the_network_is_certain_is_not_unlike_itself() -> None:
    certain = np.zeros((1, 10), np.float32)
    certain[0, 0], certain[0, 4] = 300.0, 10.0
    nothing = {name: np.zeros_like(value) for name, value in norms(certain, 1.0, 1.0).items()} | {"logits": certain}
    runner_up = norms(certain, 1.0, float(np.sqrt(2)))
    assert not unlike_itself(Measured(nothing, np.array([-1]), runner_up)).unlike


def test_two_versions_of_a_model_show_which_layers_moved(tmp_path: Path) -> None:
    """Version 2 is another training of the same layers: plain20 under resnet20's name."""
    for version, source in (("1", "resnet20"), ("2", "plain20")):
        folder = tmp_path / "resnet20" / version
        shutil.copytree(BUNDLES / source, folder)
        described = json.loads((folder / "bundle.json").read_text()) | {"name": "resnet20", "version": version}
        (folder / "bundle.json").write_text(json.dumps(described))
    with running(tmp_path, warm_up=False) as server, server.client() as client:
        address = "/diagnostics/compare?model=resnet20@1&model=resnet20@2"
        answer = Comparison.model_validate(client.post(address, content=CAT, timeout=120).json())
    assert [(model.model, model.version) for model in answer.models] == [("resnet20", "1"), ("resnet20", "2")]
    assert {difference.matched_by for difference in answer.differences} == {"name"}
    moved = [difference for difference in answer.differences if difference.moved]
    assert 0 < len(moved) < 20
    assert all(abs(difference.decades) >= 0.3 for difference in moved)
    assert f"{len(moved)} of 20 layers differ" in answer.because
