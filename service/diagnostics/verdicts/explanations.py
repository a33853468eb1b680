"""Says what each finding means and what to try: the one table of these texts.

The command line, JSON, page, report, guide and docs/reference/verdicts.md all take their words from here. Advice is in
the order of likelihood. A page of the documentation is named by its path in the repository, `docs/…`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

GUIDE: Final = "docs/verdicts"
"""Address of the guide below that of the service; in the repository the guide is `GUIDE_PAGE`."""

GUIDE_PAGE: Final = "docs/reference/verdicts.md"
"""The guide as a page of the repository; its sections have the same anchors."""


@dataclass(frozen=True)
class Explanation:
    """One rule of a state: what it means, and what to try, the likeliest first."""

    meaning: str
    advice: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """One section of the guide: a state, what is looked at, where it is shown measured, and its rules by name."""

    title: str
    looked_at: str
    measured: str
    rules: Mapping[str, Explanation]


INITIALIZATION: Final = (
    "Check the initialization: a standard deviation of √(2/inputs) before rectifiers (He et al. 2015), Glorot's before "
    "tanh."
)
NORMALIZATION: Final = (
    "Normalize before each activation, by BatchNorm or LayerNorm, if the network does not yet: the scale of the "
    "weights then no longer matters."
)
LOWER_RATE: Final = "Lower the learning rate, or raise it slowly over the first steps (warm-up)."
CLIPPING: Final = "Clip the gradient's norm in each step, to 1 for a start."
INPUT: Final = (
    "Check mean and std of the input: pictures of 0 to 255 where the network expects 0 to 1, or divided by 255 twice, "
    "look like this."
)
SHORTCUTS: Final = "Add shortcuts (residual blocks): they carry the gradient past the layers."

SECTIONS: Final[Mapping[str, Section]] = MappingProxyType(
    {
        "not-finite": Section(
            "Not finite",
            "NaN and infinity, in the logits and in the gradients. One image is enough.",
            "docs/reports/phenomena.md, section 2: with weights of twice He's deviation, float32 ends at 128 layers.",
            {
                "forward": Explanation(
                    "The network's answers are no numbers for such images: `/predict` is of no use, and no layer can "
                    "be judged.",
                    (
                        "Look for NaN and infinity among the weights; if there are any, go back to the last checkpoint "
                        "without them.",
                        "Lower the learning rate and clip the gradient's norm: weights like these come from a "
                        "training that diverged.",
                        "Check the initialization and normalize before each activation: a deep network with too large "
                        "weights overflows float32.",
                        "Train in bfloat16 or float32, or with loss scaling: float16 ends at 65,504.",
                        "Check mean and std of the input: a std near 0 makes every input huge.",
                    ),
                ),
                "backward": Explanation(
                    "The network answers, but one training step on such an image would turn its weights into NaN.",
                    (
                        "Add a small constant where the network divides, takes a root or a logarithm: their "
                        "derivatives are infinite at 0.",
                        INITIALIZATION,
                        NORMALIZATION,
                        "Clip what goes into an exponential.",
                    ),
                ),
            },
        ),
        "exploding": Section(
            "Exploding",
            "Whether the gradient grows from the last layers back to the first, and whether it is large in all layers.",
            "docs/reports/phenomena.md, section 2: weights of twice He's deviation double the gradient with every "
            "layer. Section 3: BatchNorm cures the scale, and leaves a slow growth in deep networks without shortcuts.",
            {
                "growth": Explanation(
                    "A step that suits the last layers is far too large for the first. Training diverges, or goes so "
                    "slowly that the last layers hardly learn.",
                    (
                        INITIALIZATION,
                        "In a network with BatchNorm and rectifiers that is deeper than about 30 layers, add "
                        "shortcuts: without them the gradient grows 1.2-fold with every layer.",
                        NORMALIZATION,
                        LOWER_RATE,
                        CLIPPING,
                        INPUT,
                    ),
                ),
                "size": Explanation(
                    "The network's scale is too large: a small change of any layer changes the loss enormously. At "
                    "initialization the first steps diverge; after a training, it has diverged already.",
                    (
                        INITIALIZATION,
                        NORMALIZATION,
                        LOWER_RATE,
                        CLIPPING,
                        INPUT,
                        "In a residual network without normalization, scale the branches down: each block doubles the "
                        "variance.",
                    ),
                ),
            },
        ),
        "vanishing": Section(
            "Vanishing",
            "Whether the gradient shrinks from the last layers back to the first, whether it is small in all layers, "
            "and whether it is exactly 0 somewhere.",
            "docs/reports/phenomena.md, section 1: in a sigmoid chain of 40 layers the gradient shrinks tenfold every "
            "1.6 layers; rectifiers with He's initialization keep it.",
            {
                "decay": Explanation(
                    "The first layers get almost no gradient. They stay as they were initialized, whatever the "
                    "training does, and the last layers work on their noise.",
                    (
                        "If the activations are sigmoid or tanh, use rectifiers (ReLU): their derivative is 1 "
                        "wherever they are on.",
                        INITIALIZATION,
                        NORMALIZATION,
                        SHORTCUTS,
                    ),
                ),
                "size": Explanation(
                    "The signal dies on its way to the logits: the weights of every layer hardly matter for the "
                    "answer. Training starts on a plateau.",
                    (
                        "Check the initialization: weights that are too small shrink the signal with every layer (He "
                        "et al. 2015: a standard deviation of √(2/inputs) before rectifiers).",
                        NORMALIZATION,
                        INPUT,
                        SHORTCUTS,
                    ),
                ),
                "zero": Explanation(
                    "These layers learn nothing from such images: something between them and the logits lets no "
                    "gradient through.",
                    (
                        "If the network is not trained yet and its branches start at 0 by design (zero-initialized γ, "
                        "LayerScale), train on: they open with the first steps.",
                        "Look for a layer whose weights are all 0: it passes no gradient on.",
                        "Look for a layer whose rectifiers are all off; it takes 16 images to find one.",
                        "Look for activations that are saturated, such as a hard sigmoid outside its range.",
                        "Look for a branch that is multiplied by 0, or not connected to the answer.",
                        "Check that the file was exported without a stop of the gradient: rounding and comparisons "
                        "pass none.",
                    ),
                ),
            },
        ),
        "dead": Section(
            "Dead",
            "The channels of each rectifier that are 0 at every position of every image. It takes 16 images to call a "
            "channel dead.",
            "docs/reports/verdicts.md, *Each kind, fit*: networks with 60, 80 and 100 % of a layer dead.",
            {
                "units": Explanation(
                    "A dead channel passes neither signal nor gradient, so no training brings it back. The layer "
                    "works with what is left; if nothing is left, the network answers the same for every image, and "
                    "what lies before learns nothing.",
                    (
                        "Lower the learning rate, or raise it slowly over the first steps: one step that is too large "
                        "pushes biases far below 0.",
                        "Check the initialization: biases 0 for a start, and weights of a standard deviation of "
                        "√(2/inputs) (He et al. 2015). Where many layers die, weights that are too small are likely.",
                        "Normalize before the rectifier, or use one that is never quite off (leaky ReLU, GELU).",
                        INPUT,
                        "Check again with images like those of the training (`--data`): a channel may fire on them.",
                        "If the accuracy is as it should be, prune the dead channels: the network does not use them.",
                    ),
                )
            },
        ),
        "imbalanced": Section(
            "Imbalanced",
            "Each layer's distance from the trend of all layers over depth.",
            "docs/reports/verdicts.md, *Each kind, fit*: residual networks of which one branch counts a thousandth of "
            "the others.",
            {
                "deviation": Explanation(
                    "No learning rate suits both this layer and the others: either it hardly learns, or the others "
                    "diverge. A residual branch far below the others might as well not be there.",
                    (
                        "Check how this layer is initialized, and the scale of the normalization after it.",
                        "If its scale starts near 0 by design (zero-initialized γ, LayerScale), train on: it has to "
                        "grow.",
                        "Use an optimizer that scales each layer by itself (Adam, LARS), or a learning rate of its "
                        "own.",
                        "If the layer was replaced for a new task, train it alone first.",
                    ),
                )
            },
        ),
        "shattered": Section(
            "Shattered",
            "The gradient with respect to the input at points on the straight line between two images, and how much "
            "of it is left from one point to the next. The spectral exponent is 0 for white noise and 2 for Brownian "
            "motion. The bounds are those for 64 points; on a path of fewer points, which are further apart, the same "
            "gradient looks rougher, and the bounds are lower.",
            "docs/reports/phenomena.md, sections 6 and 7: before training, the gradients of a plain network of 56 "
            "layers are white noise, those of a residual one are not.",
            {
                "shattered": Explanation(
                    "The gradient at one image says nothing about the next: a training step on one is noise to the "
                    "other. Deep plain networks start like this (Balduzzi et al. 2017), and train badly although no "
                    "gradient vanishes.",
                    (
                        SHORTCUTS,
                        "Make the network less deep.",
                        "Initialize it so that it is linear at first (looks-linear, Balduzzi et al. 2017).",
                        "If the network is trained already, check its accuracy: training smooths gradients.",
                    ),
                ),
                "rough": Explanation(
                    "The gradient forgets itself quickly along the path, but is no white noise.",
                    ("Shortcuts make it smoother, if training is slow.",),
                ),
                "smooth": Explanation("Images that are near each other pull the weights in the same direction.", ()),
                "undetermined": Explanation(
                    "Nothing can be said of the path. This is neither health nor sickness.",
                    ("Choose other images, or another label: at some point the gradient is 0 or not finite.",),
                ),
            },
        ),
        "unlike-itself": Section(
            "Unlike itself",
            "Each layer's relative gradient, beside the range that the bundle recorded on its training images.",
            "docs/reports/live-images.md: what this finds on live traffic, and what it misses.",
            {
                "unlike": Explanation(
                    "These images are unlike those of the training, or the model is not the one that was recorded.",
                    (
                        "Look whether the images are of another kind: another camera, crop, colour order or "
                        "compression.",
                        "Check mean, std and size of the input against the training.",
                        "If the traffic has changed for good, label some of it and train on.",
                    ),
                ),
                "like": Explanation("The model treats these images as it treats those of its training.", ()),
            },
        ),
        "undetermined": Section(
            "Undetermined",
            "Whether there is any gradient to judge.",
            "docs/reports/scores.md: trained networks are certain of most of their images.",
            {
                "certainty": Explanation(
                    "Nothing can be said of the layers. This is neither health nor sickness.",
                    (
                        "Send images of which the network is less certain, or ask for the loss of another label.",
                        "Check that the network answers logits of some tens at most: far larger ones leave no "
                        "gradient.",
                    ),
                )
            },
        ),
        "healthy": Section(
            "Healthy",
            "The gradient of every layer, relative to the one at the logits: how large it is, how it changes from the "
            "last layer back to the first, and whether one layer is far from the others. Beside it, the channels that "
            "never fire.",
            "docs/reports/phenomena.md, section 3: rectifiers with He's initialization and networks with BatchNorm "
            "keep the gradient's size over their whole depth.",
            {
                "no finding": Explanation(
                    "Gradients reach every layer, so that every layer can learn. This says nothing about accuracy: "
                    "resnet20 has 12 % test error, plain20-relu 48 %, and both are healthy.",
                    (
                        "Measure the accuracy on labelled images: `contraflow diagnose --bundle MODEL --data FOLDER "
                        "--out report.html`.",
                        "If the error is high all the same, train longer, and add shortcuts to a deep network without "
                        "any: plain networks get worse with depth though their gradients are healthy "
                        "(docs/guide/why-residual-networks.md).",
                        "A deep network that does not begin to learn may have shattered gradients: look with `POST "
                        "/diagnostics/shattering`.",
                    ),
                )
            },
        ),
    }
)
"""Anchor in the guide → its section, the worst first."""


def anchor(state: str) -> str:
    """Return the anchor of a state in the guide: `not finite` → `not-finite`."""
    return state.replace(" ", "-")


def in_repository(link: str) -> str:
    """Return where the repository has what a running service shows at `link`: a section of `GUIDE_PAGE`."""
    return link.replace(GUIDE, GUIDE_PAGE)


def explained(state: str, rule: str, because: str) -> dict[str, Any]:
    """Return the fields of `Explained` for a rule of a state.

    Raises:
        KeyError: there is no such state or rule.
    """
    explanation = SECTIONS[anchor(state)].rules[rule]
    return {
        "because": because,
        "meaning": explanation.meaning,
        "advice": list(explanation.advice),
        "link": f"{GUIDE}#{anchor(state)}",
    }
