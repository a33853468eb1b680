"""How many runs an image gets by the time there is."""

from __future__ import annotations

import pytest

from service.diagnostics.explanation.steps import LEAST_STEPS, NoTime, steps_of


@pytest.mark.parametrize(
    ("fitting", "images", "steps"), [(12, 1, 8), (47, 1, 24), (95, 1, 56), (96, 1, 64), (96, 2, 32), (10**9, 16, 64)]
)
def test_two_thirds_of_what_fits_are_taken_in_steps_of_eight(fitting: int, images: int, steps: int) -> None:
    found = steps_of("integrated_gradients", None, images, fitting)
    assert found.count == steps
    assert (found.note is None) == (steps == 64)


def test_without_a_deadline_each_method_has_its_usual_number() -> None:
    assert steps_of("integrated_gradients", None, 3, None).count == 64
    assert steps_of("smooth_grad", None, 3, None).count == 50
    assert steps_of("smooth_grad", 20, 3, 60).count == 20


@pytest.mark.parametrize(("named", "fitting"), [(None, 2 * LEAST_STEPS - 1), (100, 199)])
def test_what_does_not_fit_is_refused_with_what_does(named: int | None, fitting: int) -> None:
    with pytest.raises(NoTime, match=f"for each of 2 images: about {fitting} images can be run"):
        steps_of("integrated_gradients", named, 2, fitting)
