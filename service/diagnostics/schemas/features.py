"""Schemas of `POST /diagnostics/features`."""

from __future__ import annotations

from pydantic import Field

from service.diagnostics.schemas.base import AnsweredBy, DiagnosticSchema, Number
from service.diagnostics.schemas.gradients import InputGradient


class Channel(DiagnosticSchema):
    """One channel of a layer for one image: its largest value and the map as a grey PNG in a data URL."""

    channel: int = Field(description="index of the channel in its layer, from 0")
    peak: Number = Field(description="largest value of the channel over all positions, in units of the activation")
    picture: str = Field(
        description="data URL of a grey PNG of the layer's height × width: black is 0, white is `peak`"
    )


class LayerFeatures(DiagnosticSchema):
    """Statistics of one layer on one image, and its strongest channels."""

    name: str = Field(description="name of the layer")
    depth: int = Field(description="weighted layers on the longest path from the input, this one included")
    height: int = Field(description="rows of its output")
    width: int = Field(description="columns of its output")
    mean: Number = Field(description="of the layer's own output on this image, in units of the activation")
    variance: Number = Field(description="of the layer's own output on this image, in units of the activation squared")
    zero_share: Number = Field(
        description="share, 0 to 1, of exact zeros in the output of the rectifier that follows; 0 where none follows"
    )
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
    nearest_mean: dict[str, Number] = Field(description="layer → share, 0 to 1, in forward order")


class SampleFeatures(DiagnosticSchema):
    """One image: layers in forward order, and the input gradient as a saliency picture."""

    predicted_label: str = Field(description="name of the most probable class")
    predicted_index: int = Field(description="its index among the model's labels, from 0")
    layers: list[LayerFeatures] = Field(description="one per layer whose output is a map, in forward order")
    saliency: InputGradient | None = Field(description="gradient of the loss by the picture")


class SampleLabelsFeatures(DiagnosticSchema):
    """The same of a model of independent labels."""

    predicted_labels: list[str] = Field(description="whose probability is above one half")
    predicted_indices: list[int] = Field(description="their indices among the model's labels, from 0")
    layers: list[LayerFeatures] = Field(description="one per layer whose output is a map, in forward order")
    saliency: InputGradient | None = Field(description="gradient of the loss by the picture")


class Features(AnsweredBy):
    """`POST /diagnostics/features`."""

    samples: list[SampleFeatures] | list[SampleLabelsFeatures] = Field(description="one per image, in the order sent")
    separability: SeparabilityByDepth | None = Field(
        default=None, description="how well each layer tells the classes apart; null if the bundle has no record of it"
    )
