"""The words of the report that not every reader knows."""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from service.diagnostics.verdicts.glossary import GLOSSARY
from service.offline.report.markup import section, tag

USED: Final = (
    "layer", "depth", "logits", "loss", "gradient", "gradient norm", "gradient at the logits", "relative gradient",
    "scaled weight gradient", "median layer", "rectifier", "channel", "dead channel", "saturated image",
    "range of the training images", "healthy",
)  # fmt: skip
"""Terms of the glossary that the report uses."""

OWN: Final = {
    "95 % interval": "Where the share would lie if more images of the same kind were counted: of 20 such intervals, "
    "about 19 hold the true share (Wilson's score interval).",
    "GraNd": "The length of the gradient with respect to all weights, for one image (Paul et al. 2021, here at this "
    "checkpoint).",
    "distance of the layers' norms": "How far an image's gradients over the layers are from those of the training "
    "images, in units of their spread (Mahalanobis distance).",
}
"""Terms that only the report uses."""


def terms_section() -> Element:
    """Return the glossary."""
    terms = {term: GLOSSARY[term] for term in USED} | OWN
    ordered = sorted(terms.items(), key=lambda item: item[0].lower())
    return section(
        "terms", "Glossary", tag("dl", *(part for term, text in ordered for part in (tag("dt", term), tag("dd", text))))
    )
