"""Sick and healthy kinds at sizes, depths, widths and activations, and in families, that the corpus does not have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

from torch import nn

from bench.verdicts.corpus import (
    Case,
    chain,
    convolutional,
    with_dead_channels,
    with_dead_units,
    with_weak_branch,
    with_weaker,
)
from bench.verdicts.held_out.architectures import (
    ACTIVATIONS,
    SIZE,
    densely_connected,
    from_timm,
    of_unit_variance,
    stack,
    transformer,
    with_value,
)
from bench.verdicts.truth import by_growth

SHARES = (0.55, 0.65, 0.75, 1.0)
"""Shares of one layer's units that are dead."""
NOT_DEAD = (0.3, 0.45)


def unseen() -> Iterator[Case]:
    """Yield the cases, kind by kind; the chains are of linear layers, the stacks of convolutions."""
    yield from _chains()
    yield from _stacks()
    yield from _families()
    yield from _dead()
    for factor in (3e-4, 1e-5):
        for depth in (14, 32):
            name = f"residual {depth} at {SIZE} px, one branch × {factor:g}"
            yield Case(name, "imbalanced", partial(with_weak_branch, depth, factor), size=SIZE)
    for value in (math.nan, math.inf):
        poisoned = partial(lambda value: with_value(stack(9, nn.ReLU), value), value)
        yield Case(f"stack 9, one weight {value}", "not finite", poisoned, size=SIZE)
    overflowing = partial(lambda: of_unit_variance(stack(12, nn.LeakyReLU), 1e4))
    yield Case("stack 12, weights × 10000: overflow", "not finite", overflowing, size=SIZE)


def _chains() -> Iterator[Case]:
    for depth, width, size in ((12, 96, 24), (20, 256, 24), (16, 128, 64)):
        name = f"rectifier chain {depth}, width {width}, {size} px"
        yield Case(name, "healthy", partial(chain, depth, nn.ReLU, width=width, size=size), size=size)
    yield Case("tanh chain 15, width 128", "healthy", partial(chain, 15, nn.Tanh, 1.0, "glorot", 128))
    # A chain of tanh is chaotic at this scale: the gradient grows 1.3-fold per layer (Poole et al. 2016).
    yield Case("tanh chain 30, width 128, Glorot × 3", "exploding", partial(chain, 30, nn.Tanh, 3.0, "glorot", 128))
    yield Case("tanh chain 20, width 128, Glorot × 0.4", "vanishing", partial(chain, 20, nn.Tanh, 0.4, "glorot", 128))
    yield Case("sigmoid chain 7, width 128", "vanishing", partial(chain, 7, nn.Sigmoid, 1.0, "glorot", 128))
    yield Case("sigmoid chain 25, width 64", "vanishing", partial(chain, 25, nn.Sigmoid, 1.0, "glorot", 64))
    yield Case("rectifier chain 24, width 128, He × 1.5", "exploding", partial(chain, 24, nn.ReLU, 1.5, width=128))
    yield Case("rectifier chain 40, width 64, He × 0.7", "vanishing", partial(chain, 40, nn.ReLU, 0.7, width=64))


def _stacks() -> Iterator[Case]:
    for name, activation in ACTIVATIONS.items():
        for truth, depth, scale in (("healthy", 12, 1.0), ("exploding", 12, 3.0), ("vanishing", 12, 0.3)):
            scaled = f", × {scale:g}" if scale != 1 else ""
            scaling = partial(_scaled_stack, depth, activation, scale)
            yield Case(f"{name} stack {depth}{scaled}", truth, scaling, size=SIZE)
    yield Case("sigmoid stack 12", "vanishing", partial(stack, 12, nn.Sigmoid), size=SIZE)
    for depth in (24, 60):
        yield Case(f"rectifier stack {depth}, BatchNorm", by_growth, partial(stack, depth, nn.ReLU, True), size=SIZE)


def _families() -> Iterator[Case]:
    for activation in ("leaky_relu", "elu", "gelu"):
        residual = partial(convolutional, "residual", 26, "batch", activation)
        yield Case(f"residual 26, {activation}, BatchNorm", "healthy", residual, size=SIZE)
    # A residual net without normalization doubles its variance in each block of two layers.
    for depth in (44, 68):
        unnormalized = partial(convolutional, "residual", depth, "none")
        yield Case(f"residual {depth}, no normalization", "exploding", unnormalized)
    yield Case("DenseNet, 12 layers", "healthy", densely_connected, size=64)
    yield Case("MobileNetV2, half width", "healthy", partial(from_timm, "mobilenetv2_050"), size=64)
    yield Case("MobileNetV3, half width", "healthy", partial(from_timm, "mobilenetv3_small_050"), size=64)
    yield Case("RegNet X, 200 M", "healthy", partial(from_timm, "regnetx_002"), size=64)
    yield Case("ConvNeXt, atto", "healthy", partial(from_timm, "convnext_atto"), size=64)
    for depth in (4, 12):
        yield Case(f"vision transformer, {depth} blocks", "healthy", partial(transformer, depth), size=64)
    weak = partial(lambda: with_weaker(transformer(6), "blocks.2.mlp.fc2", 1e-5))
    yield Case("vision transformer, one branch × 1e-05", "imbalanced", weak, size=64)


def _dead() -> Iterator[Case]:
    for share in (*NOT_DEAD, *SHARES):
        truth = "healthy" if share in NOT_DEAD else "dead"
        # What leads to a layer that is dead as a whole gets no gradient at all.
        also = frozenset({"vanishing"}) if share == 1 else frozenset()
        name = f"{share:.0%} of a layer dead"
        chained = partial(with_dead_units, share, 11, 80, SIZE)
        yield Case(f"rectifier chain 11, width 80, {name}", truth, chained, also, SIZE)
        stacked = partial(lambda share: with_dead_channels(stack(10, nn.ReLU, True), "13", share), share)
        yield Case(f"rectifier stack 10, BatchNorm, {name}", truth, stacked, also, SIZE)
    for share in (0.45, 0.65):
        truth = "healthy" if share in NOT_DEAD else "dead"
        dense = partial(lambda share: with_dead_channels(densely_connected(), DENSE_NORM, share), share)
        yield Case(f"DenseNet, {share:.0%} of a layer dead", truth, dense, size=64)


DENSE_NORM = "features.denseblock2.denselayer2.norm2"


def _scaled_stack(depth: int, activation: Callable[[], nn.Module], scale: float) -> nn.Module:
    return of_unit_variance(stack(depth, activation), scale)
