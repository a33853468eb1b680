"""The SVG plots are well-formed and self-contained, and say what cannot be drawn."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from service.diagnostics.drawing.colours import diverging
from service.diagnostics.drawing.features import draw_features
from service.diagnostics.drawing.layers import draw_comparison, draw_gradients
from service.diagnostics.drawing.scores import draw_scores, joined_names
from service.diagnostics.drawing.shattering import draw_shattering
from service.diagnostics.drawing.svg import Linear, Logarithmic
from service.diagnostics.words import times
from tests.service.http.pages import answers

FAMILIES = {"resnet20": "residual", "plain20": "plain"}
SVG = "{http://www.w3.org/2000/svg}"


def figure(element: ElementTree.Element, attribute: str) -> float:
    """Return a numeric attribute; fails where the element lacks it."""
    return float(element.attrib[attribute])


DRAWN = {
    "gradients of one image": lambda: draw_gradients(answers.gradients()),
    "gradients of eight images": lambda: draw_gradients(answers.gradients("plain56", 56, 8, 0.7)),
    "compare": lambda: draw_comparison(
        {"models": [answers.gradients(), answers.gradients("plain20", decay=0.5)]}, FAMILIES
    ),
    "shattering": lambda: draw_shattering(answers.shattering()),
    "scores": lambda: draw_scores(answers.scores()),
    "features": lambda: draw_features(answers.features()),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_is_a_well_formed_picture_with_a_name_and_no_outside_reference(name: str) -> None:
    svg = DRAWN[name]()
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    title = root.findtext(f"{SVG}title")
    assert title
    assert title in root.attrib["aria-label"]
    assert "prefers-color-scheme: dark" in svg
    references = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
    assert all(value.startswith("data:image/png;base64,") for value in references)
    assert svg.count("http") == 1, "the SVG namespace is the only address"


@pytest.mark.parametrize("name", DRAWN)
def test_every_mark_lies_within_the_picture(name: str) -> None:
    root = ElementTree.fromstring(DRAWN[name]())
    width, height = figure(root, "width"), figure(root, "height")
    for dot in root.iter(f"{SVG}circle"):
        assert 0 <= figure(dot, "cx") <= width
        assert 0 <= figure(dot, "cy") <= height
    for text in root.iter(f"{SVG}text"):
        assert 0 <= figure(text, "y") <= height


def test_a_layer_is_one_dot_that_tells_its_name_and_value() -> None:
    answer = answers.gradients()
    labels = [t.text for t in ElementTree.fromstring(draw_gradients(answer)).iter(f"{SVG}title")]
    norm = answer["layers"][0]["relative_gradient_norm"][0]
    assert f"conv1: {norm:.4g}" in labels


def test_zero_and_non_finite_norms_are_counted_not_drawn() -> None:
    answer = answers.gradients()
    for at, bad in enumerate(("NaN", "Infinity", 0.0)):
        answer["layers"][at]["relative_gradient_norm"] = [bad]
    svg = draw_gradients(answer)
    assert "3 of 20 layers are 0 or not finite" in svg
    assert "nan" not in svg.lower().replace("dominant", "")


def test_names_from_files_are_escaped() -> None:
    answer = answers.gradients()
    answer["layers"][0]["name"] = '<script>alert("x")</script>'
    assert "<script" not in draw_gradients(answer)


def test_the_title_of_a_comparison_says_who_loses_how_much() -> None:
    quick = answers.gradients("plain20", decay=0.5)
    for layer, norm in zip(quick["layers"], [1e-4] * 10 + [1.0] * 10, strict=True):
        layer["relative_gradient_norm"] = [norm]
    assert "of plain20 shrinks 10,000-fold" in draw_comparison({"models": [quick]})


@pytest.mark.parametrize(
    ("ratio", "words"), [(1, "1-fold"), (8.94, "8.9-fold"), (123.4, "120-fold"), (3e8, "10⁸-fold")]
)
def test_ratios_read_as_words(ratio: float, words: str) -> None:
    assert times(ratio) == words


def test_dots_that_lie_close_together_share_one_name() -> None:
    placed = [(100.0, "3"), (104.0, "1"), (300.0, "2"), *((500.0 + at, str(10 + at)) for at in range(6))]
    assert joined_names(placed) == [(102.0, "1, 3"), (300.0, "2"), (502.5, "10, 11, 12, 13 and 2 more")]


def test_diverging_colours_put_white_at_zero_and_grey_at_nan() -> None:
    colours = diverging(np.array([[-1.0, 0.0, 1.0, np.nan]]))
    assert colours.tolist() == [[[213, 94, 0], [255, 255, 255], [0, 114, 178], [128, 128, 128]]]


def test_a_logarithmic_axis_covers_whole_decades() -> None:
    axis = Logarithmic.around([3e-5, 0.2, 0.0, float("inf")], 100, 0)
    assert (axis.low, axis.high) == pytest.approx((1e-5, 1.0))
    assert axis(1e-5) == pytest.approx(100)
    assert [name for _, name in axis.ticks()] == ["10⁻⁵", "10⁻⁴", "10⁻³", "0.01", "0.1", "1"]


def test_a_short_logarithmic_axis_has_ticks_within_the_decade() -> None:
    axis = Logarithmic.around([0.27, 1.3], 100, 0)
    assert [name for _, name in axis.ticks()] == ["0.2", "0.5", "1", "2"]
    tiny = Logarithmic.around([3e-7, 3e-7], 100, 0)
    assert [name for _, name in tiny.ticks()] == ["2·10⁻⁷", "5·10⁻⁷"]


def test_a_linear_axis_has_round_ticks_also_for_a_single_value() -> None:
    assert [value for value, _ in Linear(0, 1, 0, 100).ticks()] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert list(Linear(2, 2, 0, 100).ticks())


def test_residual_and_plain_have_their_own_colours() -> None:
    both = {"models": [answers.gradients("resnet20"), answers.gradients("plain20")]}
    curves = [path.get("class") for path in ElementTree.fromstring(draw_comparison(both, FAMILIES)).iter(f"{SVG}path")]
    assert curves.count("mark residual") == curves.count("mark plain") == 2, "one in the legend, one in the plot"
