"""Read a training run, and export its network to a forward ONNX graph by torch's exporter."""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from safetensors.torch import load_file
from torch import nn

from export.graph.graph import OPSET
from models.networks.network import Architecture, Network


class RunError(ValueError):
    """Raised where a training run, or a bundle made of one, cannot be used; the message names the file."""


@dataclass(frozen=True)
class TrainedRun:
    """A finished training run: the network, in inference mode, and the contents of `training.json`."""

    network: Network
    record: dict[str, Any]


def read_run(folder: Path) -> TrainedRun:
    """Read the run that `python -m models train` left in `folder`.

    Raises:
        RunError: the run is not finished, or its weights do not fit its architecture.
    """
    for name in ("training.json", "weights.safetensors"):
        if not (folder / name).is_file():
            raise RunError(f"{folder / name} is missing; finish `python -m models train` first")
    record = json.loads((folder / "training.json").read_text())
    network = Network(Architecture(**record["architecture"]), classes=len(record["labels"]))
    try:
        network.load_state_dict(load_file(folder / "weights.safetensors"))
    except RuntimeError as error:
        raise RunError(f"{folder / 'weights.safetensors'}: {error}") from error
    return TrainedRun(network.eval(), record)


def forward_graph(network: nn.Module, image_size: int) -> onnx.ModelProto:
    """Export a network: `input` float32 [N, 3, size, size] → `logits` [N, classes].

    Only the batch N is free. Initializers keep torch's parameter names.
    """
    images = torch.zeros(2, 3, image_size, image_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates its own internals while exporting
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            network.eval(),
            (images,),
            dynamo=True,
            input_names=["input"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            opset_version=OPSET,
            optimize=False,  # torch would fold BatchNorm away, and with it the original parameters
            verbose=False,
        )
    if program is None:
        raise RunError("torch exported nothing")
    return program.model_proto


def constants_of(network: nn.Module) -> tuple[str, ...]:
    """List the graph's initializers that are no parameters: the 0/1 kernels of the option-A shortcuts."""
    return tuple(name for name, _ in network.named_buffers() if name.endswith(".selection"))
