"""`python -m export phenomena`: measure and write the sections of docs/reports/phenomena.md on the shipped bundles."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from export.phenomena import features, image_shattering
from export.phenomena.shipped import Photographs, network, network_input, read_bundles, read_photographs, session
from models.networks.network import CATALOGUE, Network
from models.networks.untrained import untrained
from models.phenomena import deeper, degradation, identity
from models.phenomena.command import write_sections
from models.phenomena.section import Section
from models.phenomena.seeds import FILE as SEEDS_FILE
from service.contract.bundle_schema import Bundle

FAMILIES = ("plain20", "resnet20", "plain56", "resnet56")


def run(options: argparse.Namespace) -> int:
    """Write the sections that bundles and data allow; return 1 if a statement does not hold, 2 without any bundle."""
    torch.set_num_threads(1)
    bundles = {name: bundle for name, bundle in read_bundles(options.bundles).items() if name in CATALOGUE}
    if not any(name in bundles for name in FAMILIES):
        print(f"error: {options.bundles} has none of the bundles {', '.join(FAMILIES)}")
        return 2
    makers: dict[str, Callable[[], Section]] = {}
    for key in options.only or SECTIONS:
        if key in NEEDS_PHOTOGRAPHS and options.data is None:
            print(f"{key}: left as it is; it needs --data")
        elif key == degradation.KEY and not degradation_measured(options.docs, bundles).depths:
            print(f"{key}: left as it is; it needs a plain and a residual net of one depth")
        else:
            makers[key] = partial(SECTIONS[key], options, bundles)
    return write_sections(makers, options.docs)


def degradation_section(options: argparse.Namespace, bundles: dict[str, Bundle]) -> Section:
    """Make section 4 from training records."""
    return degradation.section(degradation_measured(options.docs, bundles), _again(degradation.KEY))


def degradation_measured(docs: Path, bundles: dict[str, Bundle]) -> degradation.Measurement:
    """Return the bundles' records, with those that `python -m models deeper` and `seeds` left in `docs`, if any."""
    records = {name: bundle.training.model_dump() for name, bundle in bundles.items() if bundle.training}
    file = docs / "figures" / SEEDS_FILE
    small: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"runs": [], "setup": ""}
    seeds = tuple(degradation.SeedResult(**entry) for entry in small["runs"])
    return degradation.Measurement({**deeper.read(docs), **records}, seeds, small["setup"])


def identity_section(options: argparse.Namespace, bundles: dict[str, Bundle]) -> Section:
    """Make section 5 on the trained networks of 20 layers."""
    names = [name for name in ("plain20", "resnet20") if name in bundles]
    networks: dict[str, Network] = {name: network(options.bundles, bundles[name]) for name in names}
    return identity.section(identity.measure(networks), _again(identity.KEY))


def path_section(options: argparse.Namespace, bundles: dict[str, Bundle]) -> Section:
    """Make section 7 on the networks of `FAMILIES` before training, and on those that have a bundle."""
    points, lags = 64, 24
    reference = next(bundles[name] for name in FAMILIES if name in bundles)
    per_class = 2 + (options.paths - 1) // len(reference.labels)
    photographs = read_photographs(options.data, reference.labels, per_class)
    inputs = network_input(reference, photographs.images)
    pairs = _pairs(inputs, photographs, per_class, options.paths)
    trained, fresh = {}, {}
    for name in FAMILIES:
        fresh_network = untrained(CATALOGUE[name], torch.from_numpy(inputs), classes=len(reference.labels))
        fresh[name] = image_shattering.path_gradients(
            image_shattering.gradient_of_network(fresh_network), pairs, points, lags
        )
        if name in bundles:
            gradient = image_shattering.gradient_of_bundle(session(options.bundles, bundles[name], "input_gradient"))
            trained[name] = image_shattering.path_gradients(gradient, pairs, points, lags)
    white, brown = image_shattering.references(points, lags)
    return image_shattering.section(
        image_shattering.Measurement(trained, fresh, white, brown, points), _again(image_shattering.KEY, "--data DIR")
    )


def _pairs(
    inputs: np.ndarray[tuple[int, ...], np.dtype[np.float32]], photographs: Photographs, per_class: int, count: int
) -> list[image_shattering.Pair]:
    """Pair the i-th photograph of each class with photograph i + 1 of the class three numbers further on."""
    classes = len(inputs) // per_class
    pairs = []
    for number in range(count):
        row, label = divmod(number, classes)
        other = (label + 3) % classes * per_class + row + 1
        pairs.append((inputs[label * per_class + row], inputs[other], int(photographs.classes[label * per_class])))
    return pairs


def features_section(options: argparse.Namespace, bundles: dict[str, Bundle]) -> Section:
    """Make section 8 on the networks of `FAMILIES` that have a bundle."""
    separation: dict[str, list[features.LayerSeparation]] = {}
    strongest: dict[str, features.StrongestMaps] = {}
    classes = 0
    for name in (name for name in FAMILIES if name in bundles):
        bundle = bundles[name]
        classes = len(bundle.labels)
        photographs = read_photographs(options.data, bundle.labels, options.photographs // classes)
        fitting = np.arange(len(photographs.classes)) % 2 == 0
        maps = session(options.bundles, bundle, "feature_maps")
        pooled = features.pooled_maps(maps, network_input(bundle, photographs.images))
        separation[name] = [
            features.separation(layer, values, photographs.classes, fitting) for layer, values in pooled.items()
        ]
        image = photographs.images[:1]
        if not strongest:
            strongest[name] = features.strongest_maps(maps, image[0], network_input(bundle, image), count=4)
    measured = features.Measurement(separation, int(fitting.sum()), int((~fitting).sum()), classes, strongest)
    return features.section(measured, _again(features.KEY, "--data DIR"))


def _again(key: str, *more: str) -> str:
    return " ".join(["python -m export phenomena --only", key, *more])


SECTIONS: dict[str, Callable[[argparse.Namespace, dict[str, Bundle]], Section]] = {
    degradation.KEY: degradation_section,
    identity.KEY: identity_section,
    image_shattering.KEY: path_section,
    features.KEY: features_section,
}
NEEDS_PHOTOGRAPHS = {image_shattering.KEY, features.KEY}
