"""The rules, on profiles drawn by hand. Whole networks: test_sick_networks.py and docs/reports/verdicts.md."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.diagnostics.schemas.verdict import Verdict
from service.diagnostics.verdicts.evidence import Activations, Evidence
from service.diagnostics.verdicts.profile import theil_sen
from service.diagnostics.verdicts.thresholds import Thresholds
from service.diagnostics.verdicts.verdict import judge

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
        "finite_logits": np.ones(samples, bool),
        "rectified": np.ones(count, bool),
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
def test_one_sample_that_is_not_finite_is_enough(value: float) -> None:
    given = evidence(FLAT)
    given.relative[1, 4] = value
    verdict, _ = judge(given, Thresholds())
    assert (verdict.state, verdict.findings[0].rule) == ("not finite", "backward")
    assert verdict.findings[0].layers == ["layer4"]
    assert verdict.because.startswith("On 1 of 3 images the logits are finite, but the gradient is NaN or infinite")


def test_logits_that_are_not_finite_are_told_from_gradients_that_are_not() -> None:
    given = evidence(FLAT, finite_logits=np.array([True, False, True]))
    given.relative[1] = np.nan
    verdict, _ = judge(given, Thresholds())
    assert [(one.finding, one.rule) for one in verdict.findings] == [("not finite", "forward")]
    assert verdict.because.startswith("On 1 of 3 images the logits are NaN or infinite")


def test_what_is_not_looked_for_is_said() -> None:
    """It takes sixteen images for dead channels, and a finite gradient for the rest."""

    def judged(images: int = 3, **changes: Any) -> Verdict:
        return judge(evidence(FLAT, images, **changes), Thresholds())[0]

    some: dict[str, Any] = {"dead_fraction": np.zeros(LAYERS), "dead_images": 12}
    verdict = judged(**some)
    assert verdict.not_looked_for == [
        "Dead channels were not looked for: the activations of 12 images are known, and 16 images are needed."
    ]
    assert verdict.looked_for == ["not finite", "exploding", "vanishing", "imbalanced"]
    assert judged(**{**some, "dead_images": 16}).not_looked_for == []
    assert judged().not_looked_for == [
        "Dead channels were not looked for: the activations of 3 images are known, and 16 images are needed."
    ]
    assert "were not measured" in judged(images=20).not_looked_for[0]
    silent = judged(**some, saturated=np.ones(3, bool))
    assert "Vanishing, exploding" in silent.not_looked_for[1]
    assert silent.looked_for == ["not finite"]


def test_what_cannot_be_in_a_network_is_not_missed() -> None:
    verdict = judge(evidence([1.0, 1.0, 1.0], rectified=np.zeros(3, bool)), Thresholds())[0]
    assert verdict.not_looked_for == []
    assert verdict.looked_for == ["not finite", "exploding", "vanishing"]
    assert list(verdict.does_not_apply) == ["dead", "imbalanced"]
    assert "from 4 layers on, and there are 3" in verdict.does_not_apply["imbalanced"]


def test_a_healthy_sentence_compares_every_number_with_its_bounds() -> None:
    because = judge(evidence(FLAT, dead_fraction=np.full(LAYERS, 0.06), dead_images=20), Thresholds())[0].because
    assert because == (
        "The first layers get 1 times the gradient of the last (healthy between 1/30 and 30 times), the median layer "
        "gets 10 times the gradient at the logits (healthy between 1/100 and 1,000 times), and at most 6 % of a "
        "layer's channels are dead (healthy up to 50 %)."
    )


def test_a_healthy_sentence_says_why_a_large_ratio_does_not_count() -> None:
    """Only the first layers stand out, so that nothing grows steadily."""
    verdict, _ = judge(evidence(np.where(DEPTH < 3, 2.6, 1.0)), Thresholds())
    assert verdict.state == "healthy"
    assert "40 times the gradient of the last (healthy, because it does not change steadily" in verdict.because
    assert "too few for a trend" in judge(evidence([1.0, 2.0, 4.0]), Thresholds())[0].because


@pytest.mark.parametrize(
    ("decades", "seen"),
    [
        (0.6 * (DEPTH - LAYERS), "the gradient shrinks tenfold every 1.7 layers: the first get 1/10¹⁰ of the gradient"),
        (0.2 * (LAYERS - DEPTH), "the gradient grows tenfold every 5.0 layers: the first get 2,500 times the gradient"),
        (
            FLAT + 6,
            "the median layer gets 10⁷ times the gradient at the logits (exploding from 1,000 times), in 20 layers",
        ),
        (FLAT - 6, "the median layer gets 1/100,000 of the gradient at the logits (vanishing from 1/100 down)"),
        (np.where(DEPTH == 7, -2.0, 1.0), "In layer layer7, the gradient is 1,000 times smaller than the trend"),
        (np.where(DEPTH < 9, -np.inf, 1.0), "The relative gradient is exactly 0, in 9 layers from layer0 to layer8"),
    ],
)
def test_every_finding_says_what_was_seen_what_it_means_and_what_to_try(decades: Any, seen: str) -> None:
    verdict, _ = judge(evidence(decades), Thresholds())
    assert seen in verdict.because
    worst = verdict.findings[0]
    assert (verdict.because, verdict.meaning, verdict.advice) == (worst.because, worst.meaning, worst.advice)
    assert worst.meaning and len(worst.advice) > 2  # noqa: PT018
    assert worst.link == f"docs/verdicts#{verdict.state}"


def test_samples_without_a_logit_gradient_are_left_out_and_alone_leave_it_undetermined() -> None:
    saturated = np.array([True, False, False])
    given = evidence(FLAT, saturated=saturated)
    given.relative[0] = np.nan
    assert state(given) == "healthy"
    assert state(evidence(FLAT, saturated=np.ones(3, bool))) == "undetermined"


@pytest.mark.parametrize(
    ("images", "share", "expected"), [(16, 0.51, "dead"), (15, 0.6, "healthy"), (99, 0.5, "healthy")]
)
def test_dead_takes_sixteen_images_and_over_half_of_the_channels(images: int, share: float, expected: str) -> None:
    dead = np.where(DEPTH == 3, share, 0.0)
    assert state(evidence(FLAT, dead_fraction=dead, dead_images=images)) == expected


def test_one_layer_without_any_gradient_takes_sixteen_images() -> None:
    """A gate may be shut for some images, which is no sickness."""
    shut = np.where(DEPTH == 7, -np.inf, 1.0)
    assert state(evidence(shut, samples=16)) == "vanishing"
    assert state(evidence(shut, samples=15)) == "healthy"
    sometimes = evidence(shut, samples=16)
    sometimes.relative[3, 7] = 1.0
    assert state(sometimes) == "healthy"


def test_a_share_is_told_apart_from_the_bound_that_it_is_over() -> None:
    dead = np.where(DEPTH == 3, 257 / 512, 0.0)
    because = judge(evidence(FLAT, dead_fraction=dead, dead_images=16), Thresholds())[0].because
    assert "50.2 % of the channels" in because
    assert "dead from over 50 %" in because


def test_a_layer_that_is_dead_in_part_explains_no_zero_gradient() -> None:
    shut = np.where(DEPTH == 7, -np.inf, 1.0)

    def found(share: float) -> list[str]:
        dead = np.where(DEPTH == 9, share, 0.0)
        given = evidence(shut, samples=16, dead_fraction=dead, dead_images=16)
        return [one.finding for one in judge(given, Thresholds())[0].findings]

    assert found(0.6) == ["vanishing", "dead"]
    assert found(1.0) == ["dead"]


def test_zero_gradients_below_a_dead_layer_are_its_doing() -> None:
    dead = np.where(DEPTH == 9, 1.0, 0.0)
    assert state(evidence(np.where(DEPTH <= 9, -np.inf, 1.0), dead_fraction=dead, dead_images=20)) == "dead"


def test_the_layer_that_is_dead_throughout_is_named_before_those_behind_it() -> None:
    share = np.where(DEPTH == 9, 1.0, np.where(DEPTH > 16, 0.6, 0.0))
    because = judge(evidence(FLAT, dead_fraction=share, dead_images=20), Thresholds())[0].because
    assert because == (
        "In layer layer9, every channel is 0 at every position of all 20 images, and so are over 50 % in 3 other "
        "layers (a layer is dead from over 50 %)."
    )


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
    return Activations(**{**parts, **changes}, function=function)


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
