"""The table of what a bundle's graphs give: each output's graphs, its name in the service, and how it is verified.

With L layers (`Bundle.layers`, in forward order), of which B have a bias, P other parameters, K labels, D features,
and C the sum of `Layer.channels`, the outputs are:

    logits           float32 [N, K]
    activation_square, weight_square, scaled_square      float32 [N, L]
                     squared L2 norms per sample, where L is the sum of the per-sample losses: of
                     dL/d(layer output), of dL/dW, and Σ_c ‖W_c‖²·‖dW_c‖² over output channels c
    bias_square      float32 [N, B]   in the order of the layers that have `bias` true
    other_square     float32 [N, P]   in the order of `Bundle.other_parameters`
    batch_square     float32 [L]      ‖Σ_n dW_n‖², for one cotangent_scale common to all samples
    input_gradient   float32 [N, channels, height, width]   (in the layout of `input`)
    features         float32 [N, D]   input of the last linear layer; present where `features` is D
    activation_mean, activation_variance, activation_zero_share   float32 [N, L]
                     mean and variance are of a layer's own output; zero_share is the share of exact
                     zeros in the output of the rectifier that follows it (0 without a rectifier)
    channel_peak     float32 [N, C]   largest value of each channel of the rectifier that follows,
                     over all positions; a layer without a rectifier has no columns (`channels` 0)
    map/<layer>      float32 [N, c, h, w]   the layer's output, after its rectifier if it has one
    layer_evidence   float32 [N, h·w]   Σ_c g_c·A_c at every position of `Layer.map_size`, row by row, with a sign: A is
                     the layer's map, g_c the mean of dz/dA_c over the positions, z the logit of `label`; it is Grad-CAM
                     before its rectifier. [N, 0] where `layer` is -1, or has no map
    logit_gradient   float32 [N, channels·height·width]   dz/dinput, flat, in the layout of `input`; [N, 0] unless
                     `layer` is -1

To add an output, write

    1. its line above and its row below; a new axis goes into `Axis` and `axis_sizes`,
    2. the function that emits it, in the file of its kind in `export/gradient/` (`norm_outputs.py` and the like),
    3. if it is verified, what torch says of it, in `_as_served` of `export/verification/verify.py`.

The open protocol, the norms, the names that files may not take, the trial of a new bundle's graphs and their
verification read this table. A bundle that was exported before lacks the output: `bundle.json` lists what its graphs
give, and the service offers no more. `python -m export rewrite` derives the graphs of trained bundles again; an
imported model is imported again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

from service.contract.bundle_schema import Bundle, GraphName

Axis = Literal["N", "K", "L", "B", "P", "C", "D", "image"]
"""Samples, labels, layers, layers with a bias, other parameters, rectified channels, features; an image's own axes."""

GRAPHS: Final[tuple[GraphName, ...]] = get_args(GraphName)


@dataclass(frozen=True, slots=True)
class Output:
    """One output tensor of the graphs, float32.

    Attributes:
        graphs: those that give it, the cheapest first.
        shape: None where it depends on the layer.
        kind: a "square" is measured at several scales and becomes a norm, a "gradient" likewise, both float64;
            a "value" is served as it is.
        offered_as: its name in the service and in the open protocol; None where it is not offered.
        verified: how it is compared with torch: by the largest "absolute" difference, by the largest one relative
            to each "entry", or relative to the norm of the "whole".
    """

    name: str
    graphs: tuple[GraphName, ...]
    shape: tuple[Axis, ...] | None
    kind: Literal["square", "gradient", "value"] = "value"
    offered_as: str | None = None
    verified: Literal["absolute", "entry", "whole"] | None = None

    @property
    def has_samples(self) -> bool:
        """True if its first axis is the samples; False if it belongs to the batch as a whole."""
        return self.shape is None or self.shape[0] == "N"

    def shape_in(self, bundle: Bundle, samples: int) -> tuple[int, ...]:
        """Return its shape in the graphs of a bundle; ValueError where that depends on the layer."""
        if self.shape is None:
            raise ValueError(f"the shape of {self.name} depends on the layer")
        return tuple([size for axis in self.shape for size in axis_sizes(axis, bundle, samples)])


def axis_sizes(axis: Axis, bundle: Bundle, samples: int) -> tuple[int, ...]:
    """Return the size of an axis in the graphs of a bundle; "image" stands for three axes."""
    match axis:
        case "N":
            return (samples,)
        case "K":
            return (len(bundle.labels),)
        case "L":
            return (len(bundle.layers),)
        case "B":
            return (sum(layer.bias for layer in bundle.layers),)
        case "P":
            return (len(bundle.other_parameters),)
        case "C":
            return (sum(layer.channels for layer in bundle.layers),)
        case "D":
            return (bundle.features or 0,)
        case "image":
            return bundle.input.image_shape


NORMS: Final[tuple[GraphName, ...]] = ("weight_norms", "batch_norms")

OUTPUTS: Final = (
    Output("logits", GRAPHS, ("N", "K"), "value", "logits", "absolute"),
    Output(
        "activation_square",
        ("activation_norms", *NORMS),
        ("N", "L"),
        "square",
        "activation_gradient_norm",
        "entry",
    ),
    Output("weight_square", NORMS, ("N", "L"), "square", "weight_gradient_norm", "entry"),
    Output("scaled_square", NORMS, ("N", "L"), "square", "scaled_gradient_norm", "entry"),
    Output("bias_square", NORMS, ("N", "B"), "square", "bias_gradient_norm", "entry"),
    Output("other_square", NORMS, ("N", "P"), "square", "other_gradient_norm", "entry"),
    Output("batch_square", ("batch_norms",), ("L",), "square", "batch_gradient_norm", "entry"),
    Output("input_gradient", ("input_gradient",), ("N", "image"), "gradient", "input_gradient", "whole"),
    Output("activation_mean", ("activations",), ("N", "L"), "value", "activation_mean"),
    Output("activation_variance", ("activations",), ("N", "L"), "value", "activation_variance"),
    Output("activation_zero_share", ("activations",), ("N", "L"), "value", "activation_zero_share"),
    Output("channel_peak", ("activations",), ("N", "C")),
    Output("map", ("feature_maps",), None),  # one tensor map/<layer> for every layer
    Output("layer_evidence", ("explanation",), None, "gradient", "layer_evidence"),
    Output("logit_gradient", ("explanation",), None, "gradient", "logit_gradient", "whole"),
    Output("features", ("forward", *NORMS), ("N", "D")),
)
"""Every output, in the order in which a graph gives them."""


ROWS: Final = {output.name: output for output in OUTPUTS}
"""Name of an output → its row of the table."""


def outputs_of(graph: GraphName) -> tuple[str, ...]:
    """Return the names of a graph's outputs, in order."""
    return tuple(output.name for output in OUTPUTS if graph in output.graphs)


def mixes_samples(graph: GraphName) -> bool:
    """Tell whether an output of the graph belongs to the batch as a whole, so that its batches must not be cut."""
    return any(graph in output.graphs and not output.has_samples for output in OUTPUTS)
