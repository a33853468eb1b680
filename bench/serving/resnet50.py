"""A bundle of the size that people serve: `python -m bench.serving.resnet50 --out FOLDER` (about a minute).

torchvision's ResNet-50 with random weights, exported by torch and imported by `export` as a stranger's
file would be; a process of its own, so that torch's memory goes with it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from export.coverage.families import torchvision_models
from export.importing.classifier import ImportOptions
from export.importing.command import import_bundle

SIZE = 224
OPTIONS = ImportOptions(
    labels=tuple(f"class {number:03d}" for number in range(1000)),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    resize=256,
    crop=SIZE,
)


def network() -> torch.nn.Module:
    """In inference mode, with normalization statistics of one pass over noise."""
    torch.manual_seed(0)
    built: torch.nn.Module = torchvision_models().resnet50(weights=None).train()
    with torch.no_grad():
        built(torch.randn(8, 3, SIZE, SIZE))
    return built.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of bundles")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "resnet50.onnx"
        torch.onnx.export(
            network(),
            (torch.zeros(2, 3, SIZE, SIZE),),
            str(file),
            dynamo=True,
            input_names=["input"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            verbose=False,
        )
        import_bundle(file, "resnet50", OPTIONS, options.out)


if __name__ == "__main__":
    main()
