"""Networks made sick on purpose: our verdict through ONNX, and the same conclusion from torch autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from bench.verdicts.judging import bundle_of, diagnosis_of
from tests.service.diagnostics.sick_networks import IMAGES, LABELS, SICK, as_onnx


def relative_by_torch(network: nn.Module) -> np.ndarray:
    """√Σ_c(‖W_c‖·‖dW_c‖)² / ‖dL/dlogits‖ per sample and layer, float64, one sample at a time."""
    network = network.double()
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Linear)]
    rows = []
    for image, label in zip(torch.from_numpy(IMAGES).double(), torch.from_numpy(LABELS), strict=True):
        logits = network(image[None])
        loss = functional.cross_entropy(logits, label[None])
        cotangent, *gradients = torch.autograd.grad(loss, [logits, *weights])
        rows.append(
            [
                float((w.detach().norm(dim=1) * d.norm(dim=1)).norm() / cotangent.norm())
                for w, d in zip(weights, gradients, strict=True)
            ]
        )
    return np.array(rows)


@pytest.mark.parametrize("truth", SICK)
def test_the_verdict_is_right_and_rests_on_what_autograd_says(truth: str) -> None:
    torch.manual_seed(0)
    network = SICK[truth]()
    found = diagnosis_of(*bundle_of(as_onnx(network)), IMAGES, LABELS)
    assert found.verdict.state == truth, found.verdict.because
    ours = np.array([layer.relative_gradient_norm for layer in found.layers]).T
    # A sample for whose label p = 1 has a cotangent of 0 in torch; ours is of the runner-up label there.
    usable = np.array([not sample.saturated for sample in found.samples])
    assert usable.any()
    assert ours[usable] == pytest.approx(relative_by_torch(network)[usable], rel=1e-3)
