"""Networks of independent labels against torch's BCEWithLogits, per layer and per sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from export.gradient import Prepared, differentiate, prepare, to_float64
from export.running.reference import evaluate
from export.verification.autograd import Truth, truth
from service.contract.binary_loss import binary_logit_gradients
from service.contract.outputs import outputs_of
from tests.export.gradient.networks.torch_networks import exported, feeds, randomised, run

EVERY_NORM = (*outputs_of("batch_norms"), "input_gradient")
LABELS = 6


class Branched(nn.Module):
    """Convolutions with a branch around, a normalization, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.side = nn.Conv2d(8, 8, 3, padding=1, groups=2, bias=False)
        self.head = nn.Linear(8, LABELS)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.norm(self.stem(x)))
        h = h + torch.tanh(self.side(h))
        scores: Tensor = self.head(h.mean((2, 3)))
        return 4 * scores


def network() -> nn.Module:
    torch.manual_seed(3)
    return randomised(Branched())


def prepared(module: nn.Module, *, double: bool = False) -> Prepared:
    model = exported(module, (3, 9, 9))
    return prepare(to_float64(model) if double else model, label_kind="independent")


def drawn(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Images, and labels of which the first sample has none and the last has all."""
    generator = np.random.default_rng(batch)
    labels = generator.integers(0, 2, (batch, LABELS))
    labels[0], labels[-1] = 0, 1
    return generator.normal(size=(batch, 3, 9, 9)).astype(np.float32), labels


def assert_agrees(ready: Prepared, found: dict[str, np.ndarray], expected: Truth, tolerance: float) -> None:
    weights = [f"{layer.name}.weight" for layer in ready.layers]
    columns = {
        "activation_square": [expected.activation[name] for name in weights],
        "weight_square": [expected.gradient[name] for name in weights],
        "scaled_square": [expected.scaled[name] for name in weights],
        "bias_square": [expected.gradient[f"{layer.name}.bias"] for layer in ready.layers if layer.bias],
        "other_square": [expected.gradient[entry.name] for entry in ready.other_parameters],
    }
    for name, norms in columns.items():
        np.testing.assert_allclose(np.sqrt(found[name]), np.stack(norms, axis=1), rtol=tolerance, err_msg=name)
    batch = np.sqrt(found["batch_square"])
    np.testing.assert_allclose(batch, [expected.batch[name] for name in weights], rtol=tolerance)
    largest = np.abs(expected.input_gradient).max()
    np.testing.assert_allclose(found["input_gradient"], expected.input_gradient, rtol=0, atol=tolerance * largest)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_float32_norms_agree_with_autograd(batch: int) -> None:
    module = network()
    ready = prepared(module)
    images, labels = drawn(batch)
    found = run(differentiate(ready, EVERY_NORM), images, labels)
    assert_agrees(ready, found, truth(module, torch.from_numpy(images), labels.tolist()), 1e-4)


def test_float64_norms_agree_with_autograd() -> None:
    module = network()
    ready = prepared(module, double=True)
    images, labels = drawn(3)
    found = evaluate(differentiate(ready, EVERY_NORM), feeds(images.astype(np.float64), labels))
    assert_agrees(ready, found, truth(module, torch.from_numpy(images), labels.tolist()), 1e-10)


def test_a_sample_alone_has_the_norms_that_it_has_in_a_batch() -> None:
    graph = differentiate(prepared(network()), ("weight_square", "input_gradient"))
    images, labels = drawn(4)
    together = run(graph, images, labels)
    images[1] = np.nan
    beside_nan = run(graph, images, labels)
    for sample in (0, 2, 3):
        alone = run(graph, images[sample : sample + 1], labels[sample : sample + 1])
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][sample], value[0], rtol=1e-5, atol=1e-7)
            np.testing.assert_allclose(beside_nan[name][sample], value[0], rtol=1e-5, atol=1e-7)


@given(st.lists(st.tuples(st.floats(-80, 80, width=32), st.integers(0, 1)), min_size=2, max_size=LABELS))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_gradient_at_the_logits_is_torch_s_in_double(drawn_labels: list[tuple[float, int]]) -> None:
    logits = torch.tensor([[z for z, _ in drawn_labels]], dtype=torch.float64)
    applies = torch.tensor([[y for _, y in drawn_labels]], dtype=torch.float64)
    # σ(z) − 1 cancels in torch too: −σ(−z) is the same number.
    exact = torch.where(applies == 1, -torch.sigmoid(-logits), torch.sigmoid(logits)).numpy()
    found = binary_logit_gradients(logits.numpy().astype(np.float32), applies.numpy().astype(np.int64))
    np.testing.assert_allclose(found, exact, rtol=1e-12)
