"""Operators without a rule, each with the reason and what to do instead."""

from __future__ import annotations

from export.gradient.rules.registry import refuse

refuse(
    "ScatterND", "the places that it writes to are not the same for all samples", "write at fixed places of each sample"
)
refuse(
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial",
    "it draws at random, so the same image has no one answer", "export the model in evaluation mode (model.eval())",
)  # fmt: skip
refuse("MaxUnpool", "its places count through all samples", "enlarge by Resize or ConvTranspose")
refuse("MaxRoiPool", "RoiAlign", "it works on regions of a list, not on whole images", "import a classifier")
refuse("NonMaxSuppression", "it selects boxes, so the model is a detector", "import a classifier")
refuse("DeformConv", "its derivative is not implemented", "export the layer as GridSample and MatMul")
refuse("Det", "its derivative is not implemented", "write the determinant out by Mul and Sub")
