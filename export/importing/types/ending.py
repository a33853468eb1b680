"""The end of a file: which of its tensors only round what the file answers."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import ModelProto, NodeProto

SHAPED = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Dropout", "Slice", "Gather"}
ROUNDING = {"QuantizeLinear", "DequantizeLinear"}
SOFTMAX = {"Softmax", "LogSoftmax", "QLinearSoftmax"}


@dataclass(frozen=True)
class Ending:
    """Tensors among a file's last ones.

    - `rounded`: integers, rounded from the answer or from what the last Softmax reads. Limits of theirs would keep the
      gradient of a confident answer from the whole network.
    - `behind_softmax`: tensors behind the last Softmax where a rounding is among them, which takes from probabilities
      what cannot be given back. The answer is taken before that.
    """

    rounded: frozenset[str] = frozenset()
    behind_softmax: frozenset[str] = frozenset()


def ending_of(model: ModelProto, output: str) -> Ending:
    """Find the ending of `model` by going back from `output` through what reshapes, rounds or normalizes."""
    producers: dict[str, NodeProto] = {name: node for node in model.graph.node for name in node.output}
    rounded, passed, behind = set[str](), set[str](), set[str]()
    tensor, rounds = output, False
    while (node := producers.get(tensor)) is not None:
        passed.update(node.output)
        rounds |= node.op_type in ROUNDING or node.op_type == "QLinearSoftmax"
        if node.op_type == "QuantizeLinear" or node.op_type.startswith(("QLinear", "QGemm")):
            rounded.update(node.output)
        if node.op_type in SOFTMAX and rounds and not behind:
            behind = passed - ({tensor} if node.op_type != "QLinearSoftmax" else set())
        if node.op_type not in SHAPED | ROUNDING | SOFTMAX or not node.input:
            break
        tensor = node.input[0]
    return Ending(frozenset(rounded), frozenset(behind))
