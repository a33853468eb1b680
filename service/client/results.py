"""Measured gradients as Python objects, and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from service.client.errors import ContraflowError
from service.diagnostics.schemas.base import LABELS_BETWEEN
from service.diagnostics.schemas.gradients import Gradients, SampleLabelsLoss, SampleLoss

if TYPE_CHECKING:
    import pandas

NORMS: Final = (
    "activation_gradient_norm",
    "weight_gradient_norm",
    "scaled_gradient_norm",
    "bias_gradient_norm",
    "gradient_to_weight_ratio",
    "relative_gradient_norm",
)
"""Members of `LayerGradients` that have a number for every sample."""


class MeasuredGradients(Gradients):
    """The answer of `POST /diagnostics/gradients`: norms per layer and sample, and the verdict."""

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with a row for every sample and layer, samples first.

        The columns are `sample` (from 0), `label` (the class of the loss), `predicted_label`, `loss` (nats), `layer`,
        `operator`, `depth`, and the six norms of `NORMS`: L2, of one sample's loss. `bias_gradient_norm` is NaN for a
        layer without a bias. Several independent labels stand in one text, with " | " between.

        Raises:
            ContraflowError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ModuleNotFoundError:
            raise ContraflowError("pandas is not installed: pip install pandas") from None
        samples: Sequence[SampleLoss | SampleLabelsLoss] = self.samples
        rows = [
            {
                "sample": number,
                **_labels_of(sample),
                "loss": sample.loss,
                "layer": layer.name,
                "operator": layer.operator,
                "depth": layer.depth,
                **{name: values[number] if (values := getattr(layer, name)) else float("nan") for name in NORMS},
            }
            for number, sample in enumerate(samples)
            for layer in self.layers
        ]
        return pd.DataFrame(rows)


def _labels_of(sample: SampleLoss | SampleLabelsLoss) -> dict[str, str]:
    if isinstance(sample, SampleLoss):
        return {"label": sample.label, "predicted_label": sample.predicted_label}
    own, predicted = (LABELS_BETWEEN.join(names) for names in (sample.labels, sample.predicted_labels))
    return {"label": own, "predicted_label": predicted}
