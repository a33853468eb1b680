"""Detection of BatchNormalization that a file's exporter folded into its convolutions.

Norms of weight gradients are then those of the folded network, which differ from the trained network's by γ/σ per
output channel. No file says so outright, but some exporters leave names that only folding gives.
"""

from __future__ import annotations

import re

from onnx import ModelProto

from export.standard.fusions import is_fusion

CONVOLUTIONS = {"Conv", "ConvTranspose", "FusedConv"}
NORMALIZATIONS = {"InstanceNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization"}
MADE_BY_FOLDING = re.compile(r"^onnx::Conv(Transpose)?_\d+$|fused_bn|bn_fused|batchnorm.*fold|fold.*batchnorm", re.I)
"""Names of weights that torch's older exporter and tf2onnx give when they fold."""
MEANING = (
    "norms are then those of the folded network, which differ from those of the network that was trained; "
    "scaled_gradient_norm is the same for both"
)


def folded_normalization(model: ModelProto) -> tuple[str, ...]:
    """Return a note where a normalization is, or may be, folded into convolutions; `model` has the file's own names."""
    convolutions = [node for node in model.graph.node if node.op_type in CONVOLUTIONS]
    biased = [node for node in convolutions if len(node.input) > 2 and node.input[2]]
    sure = sum(any(MADE_BY_FOLDING.search(name) for name in node.input[1:3]) for node in biased)
    if sure:
        return (f"the file's exporter folded BatchNormalization into {sure} of its convolutions: {MEANING}",)
    if any(is_fusion(node) for node in model.graph.node):
        return (
            f"ONNX Runtime's optimizer wrote the file, which folds normalization and scales into weights: {MEANING}",
        )
    made = {node.output[0] for node in convolutions}
    left = any(node.op_type == "BatchNormalization" and node.input[0] in made for node in model.graph.node)
    if not biased or left or any(node.op_type in NORMALIZATIONS for node in model.graph.node):
        return ()
    have = "1 has a bias" if len(biased) == 1 else f"{len(biased)} have biases"
    return (
        f"no convolution is followed by a BatchNormalization, and {have}: if the file's exporter folded one into them, "
        f"{MEANING}",
    )
