"""What is asked of an explanation, and whether the model can give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.contract.bundle_schema import Bundle, Layer
from service.diagnostics.explanation.steps import LEAST_STEPS, MOST_STEPS, USUAL_STEPS
from service.diagnostics.schemas.explanation import METHODS, Method
from service.errors import InvalidLabel, InvalidParameter, NotExplainable

MOST_LISTED: Final = 12
"""Layers that a refusal names."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How images shall be explained.

    Args:
        method: one of `METHODS`.
        layer: name of the layer whose map `grad_cam` shows; None for the last one that has a map.
        steps: runs per image, of a method that takes several; None for as many as usual, or as there is time for.
    """

    method: Method = "grad_cam"
    layer: str | None = None
    steps: int | None = None


def asked(method: str | None = None, layer: str | None = None, steps: int | None = None) -> Asked:
    """Return what is asked for by words.

    Raises:
        InvalidParameter: there is no such method, or it takes no layer or no steps, or too many steps.
    """
    chosen = next((known for known in METHODS if known == (method or METHODS[0])), None)
    if chosen is None:
        near = get_close_matches(str(method)[:64], METHODS, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(METHODS)}."
        raise InvalidParameter(f"There is no method {str(method)[:64]!r}; {hint}")
    if layer is not None and chosen != "grad_cam":
        raise InvalidParameter(f"`layer` is for grad_cam; {chosen} explains the picture itself.")
    if steps is not None and chosen not in USUAL_STEPS:
        raise InvalidParameter(f"`steps` is for {' and '.join(USUAL_STEPS)}; {chosen} takes one run.")
    if steps is not None and not LEAST_STEPS <= steps <= MOST_STEPS:
        raise InvalidParameter(f"`steps` must be a whole number from {LEAST_STEPS} to {MOST_STEPS}.")
    return Asked(chosen, layer, steps)


def check_explainable(bundle: Bundle) -> None:
    """Refuse a bundle that was made before there were explanations.

    Raises:
        NotExplainable: it has no graph `explanation`.
    """
    if "explanation" not in bundle.graphs:
        raise NotExplainable(
            f"The bundle of {bundle.name} has no graph `explanation`: it was made by an earlier version, or the graph "
            "could not run. Import the model again; `python -m export rewrite` does it for a trained bundle."
        )


def layer_of(bundle: Bundle, name: str | None) -> int:
    """Return the place in `Bundle.layers` of a layer that has a map; of the last one where no name is given.

    Raises:
        InvalidParameter: there is no such layer.
        NotExplainable: it has no map, or no layer of the model has one.
    """
    mapped = [place for place, layer in enumerate(bundle.layers) if layer.map_size is not None]
    if name is None and mapped:
        return mapped[-1]
    names = [layer.name for layer in bundle.layers]
    if name is not None and name not in names:
        near = get_close_matches(name[:64], names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {_listed(names)}."
        raise InvalidParameter(f"{bundle.name} has no layer {name[:64]!r}; {hint}")
    if not mapped:
        raise NotExplainable(
            f"No layer of {bundle.name} has a map of the picture for grad_cam: their outputs are tokens, or single "
            "numbers. The methods integrated_gradients, smooth_grad and input_x_gradient explain any network, by the "
            "gradient at its pixels."
        )
    place = names.index(str(name))
    if place not in mapped:
        nearest = min(mapped, key=lambda other: (abs(other - place), -other))
        raise NotExplainable(
            f"The layer {name} of {bundle.name} has no map of the picture: its output is {_shape(bundle.layers[place])}"
            f". The nearest layer with one is {names[nearest]}; with maps are {_listed([names[at] for at in mapped])}."
        )
    return place


def one_label_each(bundle: Bundle, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the label whose logit is explained for each image, [N]; −1 for the one with the largest logit.

    Args:
        labels: those of a loss, by the bundle's label kind: int64 [N], or [N, K] of 1, 0 and −1.

    Raises:
        InvalidLabel: several independent labels are given for an image, or it is said that none applies.
    """
    if labels.ndim == 1:
        return labels
    given = (labels == 1).sum(axis=1)
    as_predicted = (labels < 0).all(axis=1)
    if (wrong := np.flatnonzero((given != 1) & ~as_predicted)).size:
        raise InvalidLabel(
            f"An explanation is of one label, and image {wrong[0] + 1} has {given[wrong[0]] or 'none'}. Ask once for "
            f"each label of {bundle.name}."
        )
    return np.where(as_predicted, -1, labels.argmax(axis=1)).astype(np.int64)


def _shape(layer: Layer) -> str:
    return " × ".join(map(str, layer.output_shape)) or "one number"


def _listed(names: Sequence[str]) -> str:
    """Return names with commas between; of many the first, and the last ones, which say most."""
    if len(names) <= MOST_LISTED:
        return ", ".join(names)
    return f"{names[0]}, … {', '.join(names[1 - MOST_LISTED :])} ({len(names)} in all)"
