"""The networks are those of the paper in size, shortcuts and initialization."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.networks.blocks import ACTIVATIONS, ZeroPaddedShortcut
from models.networks.network import CATALOGUE, Architecture, Network, architecture


def parameters(name: str) -> int:
    return sum(parameter.numel() for parameter in Network(architecture(name)).parameters())


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_parameter_counts_are_those_of_the_papers_table_6(depth: int, millions: float) -> None:
    digits = 1 if millions >= 1 else 2
    assert round(parameters(f"resnet{depth}") / 1e6, digits) == millions


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_plain_and_residual_nets_own_the_same_parameters(depth: int) -> None:
    plain, residual = (Network(Architecture(family, depth)) for family in ("plain", "residual"))
    assert {name: value.shape for name, value in plain.named_parameters()} == {
        name: value.shape for name, value in residual.named_parameters()
    }


@pytest.mark.parametrize("name", ["resnet20", "plain56"])
def test_the_name_counts_the_weighted_layers(name: str) -> None:
    layers = [part for part in Network(architecture(name)).modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert f"{len(layers)}" == name.removeprefix("resnet").removeprefix("plain")


def test_the_shortcut_is_option_a() -> None:
    x = torch.randn(2, 16, 8, 8)
    expected = torch.zeros(2, 32, 4, 4)
    expected[:, 8:24] = x[:, :, ::2, ::2]
    torch.testing.assert_close(ZeroPaddedShortcut(16, 32, 2)(x), expected, rtol=0, atol=0)


def test_a_residual_net_is_the_plain_net_plus_shortcuts() -> None:
    torch.manual_seed(0)
    plain, residual = (Network(Architecture(family, 8)).eval() for family in ("plain", "residual"))
    residual.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 16, 16)
    block, plain_block = residual.stages[0][0], plain.stages[0][0]  # type: ignore[index]
    x = residual.stem_act(residual.stem_norm(residual.stem(images)))
    inner = plain_block.norm2(plain_block.conv2(plain_block.act1(plain_block.norm1(plain_block.conv1(x)))))
    torch.testing.assert_close(block(x), torch.relu(inner + x))
    assert not torch.allclose(residual(images), plain(images))


def test_weights_have_the_deviation_of_he_et_al_times_the_scale() -> None:
    torch.manual_seed(0)
    for scale in (1.0, 2.0):
        network = Network(Architecture("plain", 20, normalization="none", initial_scale=scale))
        weight = network.stages[2][2].conv2.weight.detach()  # type: ignore[index]
        expected = scale * (2 / (64 * 9)) ** 0.5
        assert float(weight.std()) == pytest.approx(expected, rel=0.02)
        assert float(network.stem.bias.detach().abs().max()) == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("normalization", ["batch", "none"])
def test_every_activation_and_normalization_gives_finite_logits(activation: str, normalization: str) -> None:
    network = Network(Architecture("residual", 8, activation, normalization), classes=4).eval()
    logits = network(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 4)
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"family": "dense", "depth": 20}, "unknown family 'dense'; known: residual, plain"),
        ({"family": "plain", "depth": 21}, "depth must be 6n\\+2"),
        ({"family": "plain", "depth": 2}, "depth must be 6n\\+2 and at least 8"),
        ({"family": "plain", "depth": 20, "activation": "swish"}, "unknown activation 'swish'"),
        ({"family": "plain", "depth": 20, "normalization": "layer"}, "unknown normalization 'layer'"),
    ],
)
def test_an_unknown_architecture_is_refused_with_the_known_ones(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture(**fields)  # type: ignore[arg-type]


def test_an_unknown_name_is_refused_with_the_catalogue() -> None:
    with pytest.raises(ValueError, match="unknown model 'vgg'; known: resnet8"):
        architecture("vgg")


def test_the_shipped_names_are_in_the_catalogue() -> None:
    shipped = {
        "resnet20",
        "plain20",
        "resnet56",
        "plain56",
        "plain20-sigmoid",
        "plain20-relu",
        "plain56-relu-exploding",
    }
    assert shipped <= set(CATALOGUE)
    assert architecture("plain56-relu-exploding").initial_scale == 2.0
    assert architecture("resnet20", activation="tanh").activation == "tanh"
