"""torch's two ONNX exporters, each with a free batch and with a batch of one."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

OLDER_OPSET = 17


def by_dynamo(network: nn.Module, images: Tensor, path: Path) -> None:
    """Export by torch.export and onnxscript, with a free batch."""
    with _quietly():
        free = ({0: torch.export.Dim("N")},)
        program = torch.onnx.export(network, (images,), dynamo=True, dynamic_shapes=free, verbose=False)
        assert program is not None
        program.save(path)


def by_dynamo_one_image(network: nn.Module, images: Tensor, path: Path) -> None:
    """Export by torch.export with a batch of one, as happens when the caller says nothing about shapes."""
    with _quietly():
        program = torch.onnx.export(network, (images[:1],), dynamo=True, verbose=False)
        assert program is not None
        program.save(path)


def by_tracing(network: nn.Module, images: Tensor, path: Path) -> None:
    """Export by the older exporter, which traces TorchScript and folds BatchNorm into convolutions."""
    with _quietly():
        torch.onnx.export(
            network,
            (images,),
            str(path),
            dynamo=False,
            opset_version=OLDER_OPSET,
            input_names=["image"],
            output_names=["scores"],
            dynamic_axes={"image": {0: "N"}, "scores": {0: "N"}},
        )


def by_tracing_one_image(network: nn.Module, images: Tensor, path: Path) -> None:
    """Export by the older exporter with a fixed batch of one, as many published files have it."""
    with _quietly():
        torch.onnx.export(network, (images[:1],), str(path), dynamo=False, opset_version=OLDER_OPSET)


class _quietly(warnings.catch_warnings):  # noqa: N801 - reads as a phrase after `with`
    """Silences the exporters, which warn about their own internals, for one block."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)


EXPORTERS: dict[str, Callable[[nn.Module, Tensor, Path], None]] = {
    "dynamo": by_dynamo,
    "dynamo, batch 1": by_dynamo_one_image,
    "tracing": by_tracing,
    "tracing, batch 1": by_tracing_one_image,
}
