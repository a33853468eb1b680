"""Bundles of untrained networks, exported by torch and imported by `export` as a stranger's file would be.

`call_apart` makes them in a process of its own. torch is imported there alone, not by everybody who imports this.
"""

from __future__ import annotations

from pathlib import Path

from bench.bundles.copies import imported
from export.importing.flags.options import ImportOptions


def write_resnet50(folder: str) -> None:
    """Write the bundle `folder/resnet50`, of the size that people serve; it takes about a minute."""
    from bench.bundles.networks import RESNET50_SIZE, resnet50
    from export.trained.forward import forward_graph

    options = ImportOptions(
        labels=tuple(f"class {number:03d}" for number in range(1000)),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resize=256,
        crop=RESNET50_SIZE,
    )
    imported(forward_graph(resnet50(images=8), RESNET50_SIZE), "resnet50", options, Path(folder))


def write_heavy(folder: str) -> None:
    """Write the bundle `folder/heavy`, whose run takes long enough for everything around it not to matter.

    Queueing is compared on it because on two processors the load generator and nginx would otherwise take as much
    time as the replicas whose waiting is looked at.
    """
    from bench.bundles.networks import HEAVY_SIZE, heavy
    from export.trained.forward import forward_graph

    options = ImportOptions(tuple(f"class {number}" for number in range(10)), mean=(0.5,) * 3, std=(0.25,) * 3)
    imported(forward_graph(heavy(), HEAVY_SIZE), "heavy", options, Path(folder))
