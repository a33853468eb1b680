"""The rules, on profiles drawn by hand. Whole networks: test_sick_networks.py and docs/verdicts.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.diagnostics.verdicts.evidence import Activations, Evidence
from service.diagnostics.verdicts.verdict import Thresholds, judge, theil_sen

LAYERS = 20


def evidence(decades: Any, samples: int = 3, **changes: Any) -> Evidence:
    """r = 10^decades in every sample."""
    decades = np.asarray(decades, float)
    count = len(decades)
    defaults: dict[str, Any] = {
        "names": [f"layer{i}" for i in range(count)],
        "depths": list(range(1, count + 1)),
        "relative": np.tile(10.0**decades, (samples, 1)),
        "saturated": np.zeros(samples, bool),
        "dead_fraction": np.full(count, np.nan),
        "dead_images": 0,
        "mean_gradient": np.full(count, 1e-3),
    }
    return Evidence(**{**defaults, **changes})


def state(given: Evidence, **thresholds: float) -> str:
    return judge(given, Thresholds().overridden(thresholds))[0].state


FLAT = np.full(LAYERS, 1.0)
DEPTH = np.arange(LAYERS)


@pytest.mark.parametrize(
    ("decades", "expected"),
    [
        (FLAT, "healthy"),
        (FLAT + 0.02 * (DEPTH - LAYERS), "healthy"),
        (0.6 * (DEPTH - LAYERS), "vanishing"),
        (0.2 * (LAYERS - DEPTH), "exploding"),
        (FLAT + 6, "exploding"),
        (FLAT - 6, "vanishing"),
        (np.where(DEPTH == 7, -2.0, 1.0), "imbalanced"),
        (np.where(DEPTH == 7, 4.0, 1.0), "imbalanced"),
        (np.where(DEPTH < 9, -np.inf, 1.0), "vanishing"),
    ],
)
def test_a_profile_over_depth_decides_the_state(decades: Any, expected: str) -> None:
    assert state(evidence(decades)) == expected


def test_a_finding_names_its_layers_and_the_others_stay_healthy() -> None:
    verdict, states = judge(evidence(np.where(DEPTH == 7, 4.0, 1.0)), Thresholds())
    assert verdict.findings[0].layers == ["layer7"]
    assert [name for name, one in enumerate(states) if one != "healthy"] == [7]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_sample_that_is_not_finite_is_an_explosion(value: float) -> None:
    given = evidence(FLAT)
    given.relative[1, 4] = value
    verdict, _ = judge(given, Thresholds())
    assert verdict.state == "exploding"
    assert verdict.findings[0].layers == ["layer4"]


def test_samples_without_a_logit_gradient_are_left_out_and_alone_leave_it_undetermined() -> None:
    saturated = np.array([True, False, False])
    given = evidence(FLAT, saturated=saturated)
    given.relative[0] = np.nan
    assert state(given) == "healthy"
    assert state(evidence(FLAT, saturated=np.ones(3, bool))) == "undetermined"


@pytest.mark.parametrize(
    ("images", "share", "expected"), [(16, 0.6, "dead"), (15, 0.6, "healthy"), (99, 0.4, "healthy")]
)
def test_dead_takes_sixteen_images_and_half_of_the_channels(images: int, share: float, expected: str) -> None:
    dead = np.where(DEPTH == 3, share, 0.0)
    assert state(evidence(FLAT, dead_fraction=dead, dead_images=images)) == expected


def test_zero_gradients_below_a_dead_layer_are_its_doing() -> None:
    dead = np.where(DEPTH == 9, 1.0, 0.0)
    assert state(evidence(np.where(DEPTH <= 9, -np.inf, 1.0), dead_fraction=dead, dead_images=20)) == "dead"


def test_thresholds_can_be_overridden_by_name_only_with_positive_numbers() -> None:
    assert state(evidence(FLAT), largest_size=5) == "exploding"
    for wrong in ({"nonsense": 1.0}, {"largest_size": -1.0}, {"largest_size": float("nan")}):
        with pytest.raises(ValueError, match="threshold"):
            Thresholds().overridden(wrong)


def test_the_same_factor_on_every_sample_changes_nothing() -> None:
    verdict, _ = judge(evidence(0.05 * DEPTH), Thresholds())
    again, _ = judge(evidence(0.05 * DEPTH, samples=50), Thresholds())
    assert verdict.because == again.because


def test_debuggers_rule_is_fooled_by_a_confident_sample_and_ours_is_not() -> None:
    verdict, _ = judge(evidence(FLAT, mean_gradient=np.full(LAYERS, 1e-9)), Thresholds())
    assert verdict.state == "healthy"
    assert {rule.rule for rule in verdict.debugger if rule.fires} == {"VanishingGradient"}


def activations(function: str, **changes: Any) -> Activations:
    """A profile of one sample: layer outputs have mean 0 and variance 1; with "relu" a rectifier follows each layer."""
    parts = {"mean": np.zeros((1, LAYERS)), "variance": np.ones((1, LAYERS)), "zero_share": np.full((1, LAYERS), 0.5)}
    rectified = np.full(LAYERS, function == "relu")
    return Activations(**{**parts, **changes}, rectified=rectified, function=function)


def fires(rule: str, given: Evidence) -> list[str] | None:
    """Return the layers that Debugger's rule names, or None where the rule cannot be applied."""
    found = {one.rule: one for one in judge(given, Thresholds())[0].debugger}
    return found[rule].layers if rule in found else None


def one_layer(value: float, others: float) -> Any:
    """`value` in layer 7, `others` elsewhere: [1, LAYERS]."""
    return np.where(DEPTH == 7, value, others)[None]


def test_debuggers_saturated_activation_is_estimated_from_mean_and_variance() -> None:
    healthy = evidence(FLAT, activations=activations("tanh"))
    assert fires("SaturatedActivation", healthy) == []
    for changes in ({"mean": one_layer(12.0, 0.0)}, {"variance": one_layer(500.0, 1.0)}):
        assert fires("SaturatedActivation", evidence(FLAT, activations=activations("tanh", **changes))) == ["layer7"]
    assert fires("SaturatedActivation", evidence(FLAT, activations=activations("relu"))) is None


def test_debuggers_poor_weight_initialization_compares_the_layers_variances() -> None:
    assert fires("PoorWeightInitialization", evidence(FLAT, activations=activations("relu"))) == []
    small = activations("relu", variance=one_layer(0.05, 1.0))
    assert fires("PoorWeightInitialization", evidence(FLAT, activations=small)) == ["layer7"]


def test_debuggers_all_zero_takes_a_gradient_or_a_rectifier_that_is_zero_everywhere() -> None:
    assert fires("AllZero", evidence(FLAT)) == []
    assert fires("AllZero", evidence(np.where(DEPTH == 7, -np.inf, 1.0))) == ["layer7"]
    silent = activations("relu", zero_share=one_layer(1.0, 0.5))
    assert fires("AllZero", evidence(FLAT, activations=silent)) == ["layer7"]


def test_theil_sen_ignores_one_wild_point() -> None:
    x = np.arange(12.0)
    y = 3 * x
    y[5] = 1e9
    assert theil_sen(x, y) == pytest.approx(3)
