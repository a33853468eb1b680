"""Says what the words of a verdict mean, for hover texts and the guide."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

GLOSSARY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "layer": "One operator with trained weights: a convolution, a matrix product, a recurrent cell. Layers are "
        "counted from the input.",
        "depth": "The position of a layer, counted from the input; layers side by side have the same depth.",
        "logits": "The network's scores before they become probabilities. The loss is computed from them.",
        "loss": "How wrong an answer is for a label: −ln of the label's probability (cross-entropy); for independent "
        "labels the sum over all labels (binary cross-entropy). Its unit is the nat.",
        "gradient": "How much the loss changes where a number changes a little. It is computed from the logits back "
        "to the input, layer by layer.",
        "gradient norm": "The length of a gradient: the root of the sum of its squares (L2 norm). One number says how "
        "strongly a whole layer is pulled.",
        "gradient at the logits": "The gradient with which the way back begins. It is small where the network is "
        "certain of the label, and large where it is wrong.",
        "relative gradient": "A layer's scaled weight gradient, divided by the gradient at the logits. Verdicts are "
        "decided on it, because it depends neither on the network's certainty nor on how scale is shared out between "
        "layers.",
        "weight gradient": "The gradient with respect to a layer's weights, for one image: the step that training "
        "would take.",
        "scaled weight gradient": "The weight gradient with each output channel's gradient multiplied by the length "
        "of the channel's weights: how much the loss changes when weights change by their own size.",
        "activation gradient": "The gradient with respect to a layer's output: what arrives there on the way back.",
        "gradient to weight ratio": "The norm of the weight gradient divided by the norm of the weights: the share by "
        "which a step at learning rate 1 would change them.",
        "median layer": "The layer in the middle when layers are sorted by their gradient: half of them get more, "
        "half less.",
        "first over last": "The relative gradient of the first three layers (their median) divided by that of the "
        "last three.",
        "tenfold every N layers": "The trend of the gradient over depth: over N layers it changes by a factor of ten. "
        "It is the median over all pairs of layers (Theil-Sen), so that one wild layer does not decide it.",
        "rectifier": "An activation that passes what is above 0 and stops the rest (ReLU).",
        "channel": "One of a layer's outputs: a feature map of a convolution, or a unit of a fully connected layer.",
        "dead channel": "A channel behind a rectifier that is 0 at every position of every image.",
        "saturated image": "An image of which the network is so certain that the gradient at the logits is 0 in single "
        "precision. It is judged by the runner-up label.",
        "healthy": "Gradients reach every layer. It says nothing about accuracy.",
        "shattered gradients": "Input gradients that change from one image to a close one as white noise does.",
        "spectral exponent": "How smooth the input gradient is along a path: 0 for white noise, 2 for Brownian motion.",
        "autocorrelation": "How much of the input gradient is left some points further along the path: 1 all, 0 "
        "nothing.",
        "range of the training images": "The relative gradients that the bundle recorded per layer on its training "
        "images, without the lowest and highest few percent.",
        "noise scale": "The batch size, in images, above which larger batches hardly make a step better (McCandlish "
        "et al. 2018).",
        "normalization": "A layer that brings its inputs to mean 0 and deviation 1 (BatchNorm, LayerNorm).",
        "shortcut": "A path around some layers, added to their output: F(x) + x. It carries signal and gradient past "
        "them.",
        "initialization": "How weights are drawn before training. Their deviation decides whether the signal keeps "
        "its size.",
        "clipping": "Shortening a gradient that is longer than a limit before the step.",
        "logit": "The network's score for one label, before it becomes a probability.",
    }
)
"""Term → its meaning, in one to three sentences."""
