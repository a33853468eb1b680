"""The tensors of one bundle as the protocol describes them, and the graph that computes each output."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from service.contract.bundle_schema import Bundle, GraphName
from service.contract.outputs import OUTPUTS, Output
from service.errors import MalformedRequest, TooLarge

IMAGE, LABEL, INPUT = "image", "label", "input"

GRAD_CAM, EVIDENCE, LOGIT_GRADIENT = "grad_cam", "layer_evidence", "logit_gradient"
"""Outputs of the graph `explanation`: the map of a layer, the same with its sign, and the gradient at the pixels."""

OFFERED: Final = {
    output.offered_as: output for output in OUTPUTS if output.offered_as and output.shape and output.name != "logits"
}
"""Outputs of gradient graphs by the names that the protocol gives them."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, datatype and shape of a tensor; −1 is the batch."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def metadata(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def config(self, optional: bool = False) -> dict[str, Any]:
        """Return the entry of a Triton model configuration, whose dims leave the batch out."""
        data_type = "TYPE_STRING" if self.datatype == "BYTES" else f"TYPE_{self.datatype}"
        entry: dict[str, Any] = {"name": self.name, "data_type": data_type, "dims": list(self.shape[1:]) or [1]}
        return {**entry, "optional": True} if optional else entry


class Catalogue:
    """Inputs and outputs of one bundle.

    Clients driven by metadata see one input, the preprocessed `input`. `image` (encoded files) may replace it, and
    `label` may be added, [n] of classes or [n, K] of 1, 0 and −1 where labels are independent.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.input = TensorSpec(INPUT, "FP32", (-1, *bundle.input.image_shape))
        self.image = TensorSpec(IMAGE, "BYTES", (-1,))
        self.label = TensorSpec(
            LABEL, "INT64", (-1, len(bundle.labels)) if bundle.label_kind == "independent" else (-1,)
        )
        self.forward = tuple(TensorSpec(name, "FP32", (-1, len(bundle.labels))) for name in ("logits", "probabilities"))
        self._offered: dict[str, Output] = {}
        self._graphs = bundle.graphs
        gradients = []
        for name, output in OFFERED.items():
            # A bundle that was exported before an output was added to the table has graphs without it.
            if self._gives(output.graphs[0], output):
                datatype = "FP32" if output.kind == "value" else "FP64"
                gradients.append(TensorSpec(name, datatype, output.shape_in(bundle, -1)))
                self._offered[name] = output
        self.gradients = tuple(gradients)
        self.explanations = _explanations(bundle)
        """Asked for by name only: they are of a logit, and the maps depend on the layer."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return (*self.forward, *self.gradients, *self.explanations)

    def check_input(self, name: str, datatype: str, shape: tuple[int, ...], max_images: int) -> None:
        """Check that the model takes such an input, before its data is read.

        Raises:
            MalformedRequest: another name, datatype or shape, or an empty batch.
            TooLarge: too many images.
        """
        expected = {tensor.name: tensor for tensor in (self.input, self.image, self.label)}.get(name)
        if expected is None:
            raise MalformedRequest(
                f"There is no input {name[:64]!r}; the inputs are `input` (FP32, {list(self.input.shape)}) "
                "or `image` (BYTES, encoded files), and `label` (INT64)."
            )
        if datatype != expected.datatype:
            hints = {INPUT: "pixels as they are go as a file, in the input `image`", IMAGE: "each element is a file"}
            hint = f"; {hints[name]}" if name in hints and datatype == "UINT8" else ""
            raise MalformedRequest(f"The input `{name}` must be {expected.datatype}, not {datatype[:32]}{hint}.")
        if name == INPUT and (len(shape) != len(expected.shape) or shape[1:] != expected.shape[1:]):
            raise MalformedRequest(f"The input `input` must be of shape {list(expected.shape)}, not {list(shape)}.")
        if name == LABEL and len(expected.shape) > 1 and shape[1:] != expected.shape[1:]:
            raise MalformedRequest(
                f"The input `label` must be of shape {list(expected.shape)}, not {list(shape)}: the labels are "
                "independent, and each is 1 (applies), 0 (does not) or −1 (as predicted)."
            )
        images = shape[0] if name == INPUT or len(expected.shape) > 1 else math.prod(shape)
        if not images:
            raise MalformedRequest("The batch is empty.")
        if images > max_images:
            raise TooLarge(f"{str(images)[:20]} images are more than the limit of {max_images}.")

    def graphs_for(self, names: Iterable[str]) -> list[GraphName]:
        """Return the graphs to run for these outputs, as few as possible.

        Raises:
            MalformedRequest: an output that this model does not have.
        """
        graphs: set[GraphName] = set()
        wanted = []
        for name in names:
            if name in ("logits", "probabilities"):
                graphs.add("forward")
            elif name in self._offered:
                wanted.append(self._offered[name])
            elif any(name == tensor.name for tensor in self.explanations):
                graphs.add("explanation")
            else:
                known = ", ".join(tensor.name for tensor in self.outputs)
                raise MalformedRequest(f"There is no output {name[:64]!r}; the model gives {known}.")
        graphs.update(output.graphs[0] for output in wanted)
        of_activations = (output for output in wanted if output.graphs[0] == "activation_norms")
        if "weight_norms" in graphs and all(self._gives("weight_norms", output) for output in of_activations):
            graphs.discard("activation_norms")
        return sorted(graphs)

    def _gives(self, graph: GraphName, output: Output) -> bool:
        return graph in self._graphs and output.name in self._graphs[graph].outputs


def _explanations(bundle: Bundle) -> tuple[TensorSpec, ...]:
    if "explanation" not in bundle.graphs:
        return ()
    gradient = TensorSpec(LOGIT_GRADIENT, "FP64", (-1, *bundle.input.image_shape))
    if not any(layer.map_size for layer in bundle.layers):
        return (gradient,)
    return (*(TensorSpec(name, "FP64", (-1, -1, -1)) for name in (GRAD_CAM, EVIDENCE)), gradient)
