"""Section 5, identity mapping: 36 layers that change nothing, so depth itself does not make a plain net worse."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional

from models.networks.identity_layers import with_identity_layers
from models.networks.network import Network
from models.phenomena import style
from models.phenomena.section import Section, Statement, number, table

KEY = "identity"


@dataclass(frozen=True)
class Comparison:
    """A trained network beside itself with identity layers, in one precision."""

    precision: str
    logit_difference: float
    """The largest absolute difference of a logit, over the largest absolute logit."""
    norm_difference: float
    """The largest relative difference of ‖dL/dz‖ and ‖dL/dW‖, over the layers that both networks have."""
    shallow: dict[str, float]
    """‖dL/dz‖₂ by layer, in forward order, of the summed loss."""
    deep: dict[str, float]


@dataclass(frozen=True)
class Measurement:
    """Comparisons by name of the network, one per precision."""

    deep_layers: int
    images: int
    comparisons: dict[str, list[Comparison]]


def measure(networks: dict[str, Network], deep_layers: int = 56, images: int = 32, seed: int = 0) -> Measurement:
    """Compare networks on images of Gaussian noise, with the classes that the shallow network predicts as labels."""
    side = 32
    noise = torch.randn(images, 3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    comparisons: dict[str, list[Comparison]] = {name: [] for name in networks}
    for name, network in networks.items():
        for dtype in (torch.float64, torch.float32):
            shallow = copy.deepcopy(network).to(dtype).eval()
            deep = with_identity_layers(shallow, deep_layers)
            comparisons[name].append(compare(shallow, deep, noise.to(dtype)))
    return Measurement(deep_layers, images, comparisons)


def compare(shallow: Network, deep: Network, images: Tensor) -> Comparison:
    """Compare the logits and every layer's gradient norms of both networks on the same images and labels."""
    labels = shallow(images).detach().argmax(1)
    shallow_logits, shallow_outputs, shallow_weights = gradient_norms(shallow, images, labels)
    deep_logits, deep_outputs, deep_weights = gradient_norms(deep, images, labels)
    pairs = [(norm, deep_outputs[name]) for name, norm in shallow_outputs.items()]
    pairs += [(norm, deep_weights[name]) for name, norm in shallow_weights.items()]
    return Comparison(
        precision=str(images.dtype).removeprefix("torch."),
        logit_difference=float((shallow_logits - deep_logits).abs().max() / shallow_logits.abs().max()),
        norm_difference=max(abs(ours - theirs) / ours for ours, theirs in pairs),
        shallow=shallow_outputs,
        deep=deep_outputs,
    )


def gradient_norms(
    network: Network, images: Tensor, labels: Tensor
) -> tuple[Tensor, dict[str, float], dict[str, float]]:
    """Return the logits, and ‖dL/dz‖₂ and ‖dL/dW‖₂ of the summed cross-entropy by layer, in forward order."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str) -> None:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[name] = output

        handles.append(modules[name].register_forward_hook(hook))

    modules = {name: part for name, part in network.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)}
    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name in modules:
        keep(name)
    logits = network(images)
    for handle in handles:
        handle.remove()
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    weights = [modules[name].get_parameter("weight") for name in outputs]
    slopes = torch.autograd.grad(loss, [*outputs.values(), *weights])
    norms = [float(slope.norm()) for slope in slopes]
    return (
        logits.detach(),
        dict(zip(outputs, norms, strict=False)),
        dict(zip(outputs, norms[len(outputs) :], strict=True)),
    )


def statements(measured: Measurement) -> tuple[Statement, ...]:
    bounds = {"float64": (1e-12, 1e-12), "float32": (1e-5, 1e-3)}
    both = [comparison for pair in measured.comparisons.values() for comparison in pair]
    return tuple(
        statement
        for precision, (logits, norms) in bounds.items()
        for statement in (
            Statement(
                f"same_function_{precision}",
                f"in {precision} the logits differ, relative to the largest, by at most",
                max(entry.logit_difference for entry in both if entry.precision == precision),
                "≤",
                logits,
            ),
            Statement(
                f"same_norms_{precision}",
                f"in {precision} the gradient norms of the layers that both have differ, relative, by at most",
                max(entry.norm_difference for entry in both if entry.precision == precision),
                "≤",
                norms,
            ),
        )
    )


def draw(measured: Measurement) -> Figure:
    worst = max(pair[0].logit_difference for pair in measured.comparisons.values())
    figure, axes = style.figure(
        f"Identity layers change nothing (logits differ by {number(worst)} in float64): a deeper net can be as good",
        columns=len(measured.comparisons),
        height=3.3,
    )
    for axis, (name, pair) in zip(axes, measured.comparisons.items(), strict=True):
        comparison = pair[0]
        positions = {layer: at for at, layer in enumerate(comparison.deep, start=1)}
        copied = [layer for layer in comparison.deep if layer in comparison.shallow]
        added = [layer for layer in comparison.deep if layer not in comparison.shallow]
        colour = style.RESIDUAL if name.startswith("resnet") else style.PLAIN
        for layers, norms, label, marker in (
            (added, comparison.deep, "identity layer", "."),
            (copied, comparison.deep, "trained layer, in the deep net", "o"),
            (copied, comparison.shallow, f"the same layer in {name}", "x"),
        ):
            axis.plot(
                [positions[layer] for layer in layers],
                [norms[layer] for layer in layers],
                linestyle="none",
                marker=marker,
                color=style.GREY if marker == "." else style.BLACK if marker == "x" else colour,
                markersize=5 if marker == "o" else 4,
                label=label,
            )
        axis.set(
            title=f"{name} + {len(added)} identity layers",
            yscale="log",
            xlabel=f"layer of {measured.deep_layers}, from the input",
            ylabel="‖dL/dz‖₂",
        )
        axis.legend()
    return figure


def section(measured: Measurement, command: str) -> Section:
    """Write the section on trained networks; `command` is the one that loaded them."""
    return Section(
        position=5,
        key=KEY,
        title="Identity mapping",
        figure=draw(measured),
        paragraphs=(
            "He et al.'s argument for why degradation is a failure of optimization and not of capacity: take a trained "
            f"network, append layers that pass their input on, and the network of {measured.deep_layers} layers "
            "computes the same function. In a plain block the identity is a kernel with a single 1 (and a BatchNorm "
            "that undoes itself), in a residual block a kernel of zeros. The solution is there; that optimizers find "
            "the second more easily than the first is He et al.'s conjecture.",
            f"Measured with the shipped weights, BatchNorm folded into the convolutions, on {measured.images} images "
            "of Gaussian noise, so no data set is needed.",
        ),
        table=table(
            ["network", "precision", "logits", "gradient norms"],
            [
                [name, entry.precision, number(entry.logit_difference), number(entry.norm_difference)]
                for name, pair in measured.comparisons.items()
                for entry in pair
            ],
        ),
        statements=statements(measured),
        command=command,
        served="`POST /diagnostics/compare?model=plain20&model=plain56`",
    )
