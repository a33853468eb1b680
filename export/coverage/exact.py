"""Compare gradient graphs in float64 with torch that runs the file's own nodes, where float32 loses too many digits.

Some random networks amplify the rounding of their stored weights to tenths of a gradient. Then neither torch's float32
nor the exporter's file resembles the network in float64, and only the file's own function can be compared with.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto
from torch import Tensor

from export.coverage.measure import Imported, Labels, truth_of
from export.coverage.truth.compare import of_ends, of_parameters
from export.coverage.truth.interpreted.network import Interpreted, attribute_of
from export.coverage.truth.matching import sources_of
from export.gradient import differentiate, prepare, to_float64
from export.running.runs import in_float64
from service.contract.norms import measure as norms_of

BOUND = 1e-8
"""Relative, as the bound of a verified bundle in float64."""


def differences_in_float64(found: Imported, batch: Tensor, labels: Labels) -> dict[str, float]:
    """Return the largest differences by quantity, as `agreement` does.

    Raises:
        NotImplementedError: a gradient passes an operator that `Interpreted` does not know.
    """
    file = found.model
    sources = sources_of(found.bundle, file.model)
    stored = {tensor.name for tensor in file.model.graph.initializer}
    network = Interpreted(file, set(sources.values()) - stored - {""}).eval()
    expected = truth_of(network, batch, labels)
    outputs = _outputs(file.model, file.constants, batch.numpy(), np.array(labels, dtype=np.int64))
    names = {name: attribute_of(source) for name, source in sources.items()}
    return of_parameters(found.bundle, outputs, expected, names) | of_ends(
        outputs["logits"], outputs["input_gradient"], expected
    )


def _outputs(
    model: ModelProto, constants: tuple[str, ...], images: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Derive the graphs anew in float64, and run them in onnx's reference evaluator."""
    double = prepare(to_float64(model), constants=constants, logits=True)
    outputs = dict[str, np.ndarray]()
    for graph in ("batch_norms", "input_gradient"):
        run, feeds = in_float64(differentiate(double, graph)), {"input": images, "label": labels}
        outputs |= norms_of(
            lambda scale, run=run, feeds=feeds: run(feeds | {"cotangent_scale": scale}),  # type: ignore[misc]
            len(images),
        )
    return outputs
