"""The truth about a network is measured without the rules that are judged by it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.verdicts.corpus import chain, convolutional, photographs, with_dead_units
from bench.verdicts.truth import by_growth, has_dead_layer


@pytest.mark.parametrize(("share", "is_dead"), [(0.0, False), (0.5, False), (0.6, True)])
def test_a_layer_is_dead_where_over_half_of_it_never_fires(share: float, is_dead: bool) -> None:
    torch.manual_seed(0)
    assert has_dead_layer(with_dead_units(share), photographs()) is is_dead


def test_a_unit_that_fires_on_other_images_is_not_dead() -> None:
    """On one photograph alone, half of the units of any chain are off."""
    torch.manual_seed(0)
    network = chain(5, nn.ReLU)
    assert not has_dead_layer(network, photographs()[:1])


def test_a_scale_that_all_layers_share_is_no_growth() -> None:
    torch.manual_seed(0)
    assert by_growth(convolutional("plain", 8, "none", scale=2.0), photographs()) == "healthy"


def test_a_sharply_growing_gradient_is_exploding() -> None:
    torch.manual_seed(0)
    assert by_growth(chain(30, nn.Tanh, 3.0, "glorot", 128), photographs()) == "exploding"
