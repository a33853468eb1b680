"""Networks beside themselves, written otherwise: nothing changed, so that nothing may be found."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from PIL import Image
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from bench.bundles.copies import imported
from bench.bundles.networks import settled
from bench.harness.paths import PHOTOGRAPHS, SHIPPED
from bench.verdicts.corpus import MEAN, STD, photographs
from bench.verdicts.held_out.architectures import ACTIVATIONS, SIZE, densely_connected, stack, transformer
from export.coverage.files.exporters import by_dynamo, by_tracing
from export.importing.flags.options import ImportOptions
from models.networks.network import Network, architecture
from service.contract.runtime.opening import Runtime
from service.offline import check
from service.offline.made_pictures import made_pictures
from service.offline.model import OfflineModel, finished

PICTURES = 176
"""Pictures that are made, beside the photographs."""
SAME = ("itself", "imported again", "both exporters", "folded", "rescaled")
BY_CHANNEL = "channels rescaled"
"""The case in which layers may seem to have moved: their gradients are sums over the channels that they read."""
ALL = (*SAME, BY_CHANNEL)

Pair = tuple[Path, Path]


@dataclass(frozen=True)
class Reexport:
    """The comparison of a network with itself, written otherwise."""

    kind: str
    name: str
    images: int
    flips: int
    moved: list[str]


def reexports(kinds: tuple[str, ...], most: int) -> Iterator[Reexport]:
    """Check every network against itself in every way, up to `most` networks in each."""
    ways: dict[str, Callable[[Path], Iterator[tuple[str, Pair]]]] = {
        "itself": _itself,
        "imported again": _imported_again,
        "both exporters": _both_exporters,
        "folded": _folded,
        "rescaled": partial(_rescaled, by_channel=False),
        BY_CHANNEL: partial(_rescaled, by_channel=True),
    }
    for kind in kinds:
        with TemporaryDirectory() as folder:
            for done, (name, pair) in enumerate(ways[kind](Path(folder)), 1):
                yield _checked(kind, name, pair)
                if done == most:
                    break


def _checked(kind: str, name: str, pair: Pair) -> Reexport:
    """Run the command on pictures that are labelled as the old version sees them: each change is a flip."""
    old, new = pair
    with TemporaryDirectory() as place:
        data, report = Path(place) / "data", Path(place) / "report.json"
        _write_pictures(old, data)
        words = [str(new), "--against", str(old), "--data", str(data), "--layer-images", "1", "--report", str(report)]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            status = check.main([*words, "--most-negative-flips", "0", "--most-moved-layers", "0"])
        if not report.exists():
            raise RuntimeError(f"{name}: {said.getvalue()}")
        found = json.loads(report.read_text())
    flips, moved = found["disagreements"]["count"], [one["layer"] for one in found["moved"] if one["moved"]]
    if status != (1 if flips or moved else 0):
        raise RuntimeError(f"{name}: the exit status is {status}: {[one['because'] for one in found['limits']]}")
    return Reexport(kind, name, found["images"]["images"], flips, moved)


def _write_pictures(bundle: Path, folder: Path) -> None:
    """Write photographs and made pictures into folders that are called as the bundle classifies them."""
    model = OfflineModel(bundle, Runtime("cpu"), needed="forward")
    pictures = [Image.fromarray(one) for one in made_pictures(PICTURES, model.bundle.input)]
    pictures += [Image.open(file).convert("RGB") for file in sorted(PHOTOGRAPHS.glob("*.jpg"))]
    spec = model.bundle.input
    small = [picture.resize((spec.width, spec.height)) for picture in pictures]
    predicted = finished(model.run("forward", np.stack([np.asarray(one) for one in small])))["logits"].argmax(axis=1)
    for number, (picture, label) in enumerate(zip(small, predicted, strict=True)):
        (folder / model.bundle.labels[label]).mkdir(parents=True, exist_ok=True)
        picture.save(folder / model.bundle.labels[label] / f"{number:04}.png")


def _shipped() -> list[Path]:
    return sorted(file.parent for file in SHIPPED.glob("*/bundle.json"))


def _itself(folder: Path) -> Iterator[tuple[str, Pair]]:
    for bundle in _shipped():
        yield bundle.name, (bundle, shutil.copytree(bundle, folder / bundle.name))


def _imported_again(folder: Path) -> Iterator[tuple[str, Pair]]:
    for bundle in _shipped():
        description = json.loads((bundle / "bundle.json").read_text())
        mean, std = (tuple(description["input"][key]) for key in ("mean", "std"))
        options = ImportOptions(tuple(description["labels"]), mean, std, output="logits")
        imported(onnx.load(str(bundle / "forward.onnx")), bundle.name, options, folder)
        yield bundle.name, (bundle, folder / bundle.name)


def _networks() -> Iterator[tuple[str, nn.Module]]:
    images = torch.from_numpy(photographs(SIZE))
    for number, (name, activation) in enumerate(ACTIVATIONS.items()):
        torch.manual_seed(number)
        yield f"8 convolutions with {name}", settled(stack(8, activation, normalized=number % 2 == 0), images)
    for name in ("resnet8", "plain8", "resnet20"):
        torch.manual_seed(0)
        yield f"{name}, untrained", settled(Network(architecture(name)), images)
    torch.manual_seed(0)
    yield "DenseNet", settled(densely_connected(), torch.from_numpy(photographs(64)))
    yield "vision transformer", transformer(2).eval()


def _both_exporters(folder: Path) -> Iterator[tuple[str, Pair]]:
    for name, network in _networks():
        side = 64 if name in ("DenseNet", "vision transformer") else SIZE
        yield (
            name,
            (
                _exported(network, folder / "dynamo", by_dynamo, side),
                _exported(network, folder / "tracing", by_tracing, side),
            ),
        )


def _folded(folder: Path) -> Iterator[tuple[str, Pair]]:
    """Yield stacks of convolutions with their normalizations, and with these folded into the weights."""
    images = torch.from_numpy(photographs(SIZE))
    for number, (name, activation) in enumerate({**ACTIVATIONS, "ReLU": nn.ReLU}.items()):
        torch.manual_seed(number)
        network = settled(stack(6, activation, normalized=True), images)
        # Their own names, so that layers must be found without.
        pair = _exported(network, folder / "old", by_dynamo), _exported(folded(network), folder / "new", by_dynamo)
        yield f"6 convolutions with {name}", pair


def folded(network: nn.Sequential) -> nn.Sequential:
    """Return a copy without BatchNorm: each is folded into the convolution before it, by torch."""
    made: list[nn.Module] = []
    for module in copy.deepcopy(network):
        if isinstance(module, nn.BatchNorm2d) and isinstance(made[-1], nn.Conv2d):
            made[-1] = fuse_conv_bn_eval(made[-1], module)
        else:
            made.append(module)
    return nn.Sequential(*made).eval()


def _rescaled(folder: Path, *, by_channel: bool) -> Iterator[tuple[str, Pair]]:
    """Yield stacks with rectifiers, and with outputs that are made larger and taken back by the next layer."""
    for number, (depth, slope) in enumerate([(4, 0.0), (6, 0.0), (8, 0.0), (6, 0.2)]):
        torch.manual_seed(number)
        network = stack(depth, lambda slope=slope: nn.LeakyReLU(slope)).eval()  # type: ignore[misc]
        pair = (
            _exported(network, folder / "old", by_dynamo),
            _exported(rescaled(network, by_channel), folder / "new", by_dynamo),
        )
        yield f"{depth} convolutions, slope {slope}", pair


def rescaled(network: nn.Sequential, by_channel: bool) -> nn.Sequential:
    """Return a copy that computes the same: each layer's output times 1/4 to 4, or each channel's, and taken back."""
    made = copy.deepcopy(network)
    layers = [module for module in made if isinstance(module, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        for layer, following in pairwise(layers):
            channels = layer.weight.shape[0]
            factors = (4 ** torch.empty(channels if by_channel else 1).uniform_(-1, 1)).expand(channels)
            layer.weight *= factors.reshape(-1, 1, 1, 1)
            if layer.bias is not None:
                layer.bias *= factors
            following.weight /= factors.reshape(1, -1, 1, 1) if following.weight.ndim == 4 else factors
    return made


def _exported(
    network: nn.Module, folder: Path, exporter: Callable[[nn.Module, torch.Tensor, Path], None], side: int = SIZE
) -> Path:
    """Export and import a network; return its bundle, which replaces the one before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder / "exported.onnx"
    exporter(network, torch.from_numpy(photographs(side)), file)
    imported(onnx.load(str(file)), "net", ImportOptions(None, tuple(MEAN), tuple(STD)), folder)
    return folder / "net"
