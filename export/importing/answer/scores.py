"""The tensor of scores: refusing one that holds none."""

from __future__ import annotations

from onnx import ModelProto, NodeProto

from export.graph.errors import InvalidModel, UnsupportedGraph

PASSED = {"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Dropout", "Cast"}


def require_computed(model: ModelProto, output: str) -> None:
    """Raise InvalidModel where no node makes `output`, UnsupportedGraph where it is not a tensor."""
    graph = model.graph
    declared = next((value.type.WhichOneof("value") for value in graph.output if value.name == output), None)
    if declared not in (None, "tensor_type"):
        kind = declared.removesuffix("_type")
        raise UnsupportedGraph(f"the output {output!r} is a {kind}, not a tensor of scores; name one with --output")
    if any(output in node.output for node in graph.node):
        return
    if any(value.name == output for value in graph.input):
        raise InvalidModel(f"the output {output!r} is the model's input itself: there is nothing to classify by")
    if any(tensor.name == output for tensor in graph.initializer):
        raise InvalidModel(f"the output {output!r} is a stored tensor: it does not depend on the image")
    raise InvalidModel(f"the output {output!r} is made by no node")


def refuse_decisions(model: ModelProto, output: str) -> None:
    """Raise UnsupportedGraph where the graph ends in an ArgMax or TopK, which have no gradient."""
    producers: dict[str, NodeProto] = {name: node for node in model.graph.node for name in node.output}
    name = output
    while name in producers and producers[name].op_type in PASSED:
        name = producers[name].input[0]
    if name in producers and producers[name].op_type in ("ArgMax", "TopK"):
        last = producers[name]
        raise UnsupportedGraph(
            f"the model ends in {last.op_type} (node {last.name!r}), not in scores of exclusive classes; "
            f"name the tensor of logits with --output (here perhaps {last.input[0]!r})"
        )
