"""Compare gradient graphs in float64 with torch that runs the file's own nodes, where float32 loses too many digits.

Some random networks amplify the rounding of their stored weights to tenths of a gradient. Then neither torch's float32
nor the exporter's file resembles the network in float64, and only the file's own function can be compared with.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from export.coverage.measure import Imported, Labels, interpreted, outputs_of, truth_of
from export.coverage.truth.compare import of_ends, of_parameters
from export.coverage.truth.interpreted.network import attribute_of
from export.coverage.truth.matching import sources_of
from export.gradient import differentiate, prepare, to_float64
from export.running.runs import in_float64


def differences_in_float64(found: Imported, batch: Tensor, labels: Labels) -> dict[str, float]:
    """Return the largest differences by quantity, as `agreement` does.

    The graphs are derived anew in float64, and run in onnx's reference evaluator.

    Raises:
        NotImplementedError: a gradient passes an operator that `Interpreted` does not know.
    """
    file = found.model
    sources = sources_of(found.bundle, file.model)
    expected = truth_of(interpreted(file, sources.values()), batch, labels)
    double = prepare(to_float64(file.model), constants=file.constants, logits=True)
    outputs = outputs_of(
        lambda graph: in_float64(differentiate(double, graph)), batch.numpy(), np.array(labels, dtype=np.int64)
    )
    names = {name: attribute_of(source) for name, source in sources.items()}
    differences = of_parameters(found.bundle, outputs, expected, names)
    return differences | of_ends(outputs["logits"], outputs["input_gradient"], expected)
