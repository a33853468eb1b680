"""Identity layers change neither the function nor its gradients, with BatchNorm and without."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.networks.identity_layers import added_layers, with_identity_layers
from models.networks.network import Architecture, Network
from models.phenomena.identity import Measurement, compare, gradient_norms, measure, statements


def network(family: str, normalization: str = "batch") -> Network:
    """A network whose BatchNorm statistics differ from those of a fresh layer."""
    torch.manual_seed(0)
    made = Network(Architecture(family, 8, normalization=normalization))
    made.train()(torch.randn(16, 3, 16, 16) * 2 + 1)
    return made.eval()


@pytest.mark.parametrize("normalization", ["batch", "none"])
@pytest.mark.parametrize("family", ["plain", "residual"])
def test_the_deeper_net_is_the_same_function(family: str, normalization: str) -> None:
    shallow = network(family, normalization)
    deep = with_identity_layers(shallow, 20)
    assert sum(isinstance(part, nn.Conv2d | nn.Linear) for part in deep.modules()) == 20
    assert len(added_layers(shallow, deep)) == 12
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(deep(images), shallow(images), rtol=1e-5, atol=1e-5)


def test_every_statement_of_section_5_holds_on_small_nets() -> None:
    measured = measure({"plain8": network("plain"), "resnet8": network("residual")}, deep_layers=20, images=4)
    assert [statement.name for statement in statements(measured) if not statement.holds] == []


def test_layers_that_are_no_identity_break_the_statements() -> None:
    """Disturb one identity block of the deep net, to show that the statements can fail."""
    comparisons = []
    for dtype in (torch.float64, torch.float32):
        shallow = network("plain").to(dtype)
        deep = with_identity_layers(shallow, 20)
        deep.stages[0][2].conv1.weight.data.mul_(1.01)  # type: ignore[index]
        comparisons.append(compare(shallow, deep, torch.randn(4, 3, 32, 32, dtype=dtype)))
    assert not any(statement.holds for statement in statements(Measurement(20, 4, {"plain8": comparisons})))


def test_norms_are_those_of_each_layers_own_output_and_weight() -> None:
    shallow = network("residual", "none")
    images, labels = torch.randn(2, 3, 16, 16), torch.tensor([1, 2])
    logits, outputs, weights = gradient_norms(shallow, images, labels)
    error = torch.softmax(logits, 1) - torch.nn.functional.one_hot(labels, 10)
    assert outputs["classifier"] == pytest.approx(float(error.norm()), rel=1e-5)
    assert next(iter(outputs)) == "stem"
    assert outputs.keys() == weights.keys()


def test_a_sigmoid_has_no_identity_layers() -> None:
    with pytest.raises(ValueError, match="need a rectifier, the network has sigmoid"):
        with_identity_layers(Network(Architecture("plain", 8, activation="sigmoid")), 20)
    with pytest.raises(ValueError, match="14 layers already"):
        with_identity_layers(Network(Architecture("plain", 14)), 8)
