"""A bundle of the size that people serve: `python -m bench.bundles.resnet50 --out FOLDER` (about a minute).

torchvision's ResNet-50 with random weights, exported by torch and imported by `export` as a stranger's file would
be. It is made in a process of its own, so that torch's memory goes with it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from bench.bundles.copies import imported
from bench.bundles.networks import RESNET50_SIZE, resnet50
from export.importing.flags.options import ImportOptions

OPTIONS = ImportOptions(
    labels=tuple(f"class {number:03d}" for number in range(1000)),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    resize=256,
    crop=RESNET50_SIZE,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of bundles")
    options = parser.parse_args()
    program = torch.onnx.export(
        resnet50(images=8),
        (torch.zeros(2, 3, RESNET50_SIZE, RESNET50_SIZE),),
        dynamo=True,
        input_names=["input"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        verbose=False,
    )
    assert program is not None
    imported(program.model_proto, "resnet50", OPTIONS, options.out)


if __name__ == "__main__":
    main()
