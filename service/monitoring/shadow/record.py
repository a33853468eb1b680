"""All that is known of one pair of versions since its comparison began."""

from __future__ import annotations

from datetime import UTC, datetime

from service.monitoring.shadow.answers import Answers
from service.monitoring.shadow.layers import Layers
from service.monitoring.shadow.pair import Pair


class Record:
    """Begins anew with every pair, so that no number mixes two states of a model."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.since = datetime.now(UTC)
        self.answers = Answers()
        self.layers = Layers(pair)
        self.last_failure: str | None = None
        """Why the last image failed; None if none has."""
        self.layers_failure: str | None = None
        """Why the gradients of an image could not be measured; None if they could."""
