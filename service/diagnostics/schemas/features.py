"""Schemas of `POST /diagnostics/features`."""

from __future__ import annotations

from pydantic import Field

from service.diagnostics.schemas.base import AnsweredBy, DiagnosticSchema, Number
from service.diagnostics.schemas.gradients import InputGradient


class Channel(DiagnosticSchema):
    """One channel of a layer for one image: its largest value and the map as a grey PNG in a data URL."""

    channel: int
    peak: Number
    picture: str


class LayerFeatures(DiagnosticSchema):
    """Statistics of one layer on one image, and its strongest channels."""

    name: str
    depth: int
    height: int
    width: int
    mean: Number
    variance: Number
    zero_share: Number
    separability: Number | None = Field(
        default=None,
        description="from the bundle's record: share of labelled images nearest to their own class's mean here",
    )
    channels: list[Channel] = Field(description="the strongest, by mean over positions, first")


class SeparabilityByDepth(DiagnosticSchema):
    """The separability of the classes by layer, from the bundle's record; the same for every image."""

    because: str = Field(description="the finding in one sentence")
    fitted: int = Field(description="images from which the class means are computed")
    judged: int = Field(description="other images, for which the shares are measured")
    chance: float = Field(description="the share without any separation")
    nearest_mean: dict[str, Number] = Field(description="layer → share, in forward order")


class SampleFeatures(DiagnosticSchema):
    """One image: layers in forward order, and the input gradient as a saliency picture."""

    predicted_label: str
    predicted_index: int
    layers: list[LayerFeatures]
    saliency: InputGradient | None


class SampleLabelsFeatures(DiagnosticSchema):
    """The same of a model of independent labels."""

    predicted_labels: list[str] = Field(description="whose probability is above one half")
    predicted_indices: list[int]
    layers: list[LayerFeatures]
    saliency: InputGradient | None


class Features(AnsweredBy):
    """`POST /diagnostics/features`."""

    samples: list[SampleFeatures] | list[SampleLabelsFeatures]
    separability: SeparabilityByDepth | None = None
