"""Content negotiation by `Accept` and `Accept-Encoding` with their weights (RFC 9110, 12.5)."""

from __future__ import annotations

import pytest

from service.http.answers.header_fields import members, parameters, weights
from service.http.answers.negotiation import preferred_coding, prefers

JSON, SVG = "application/json", "image/svg+xml"

ACCEPTED = [
    ("", JSON),
    ("*/*", JSON),
    ("image/svg+xml", SVG),
    ("IMAGE/SVG+XML", SVG),
    ("image/svg+xml; charset=utf-8", SVG),
    ("image/*", SVG),
    ("image/svg+xml;q=0", JSON),
    ("image/svg+xml;q=0, application/json", JSON),
    ("image/svg+xml;q=0.0, */*", JSON),
    ("image/svg+xml;q=0.9, */*;q=0.8", SVG),
    ("image/svg+xml;q=0.8, */*;q=0.9", JSON),
    ("image/svg+xml; q=0.5, application/json; q=0.4", SVG),
    ("image/svg+xml;q=0.5,application/json;q=0.501", JSON),
    ("application/json, application/problem+json, image/svg+xml", JSON),
    ("image/svg+xml, application/json", JSON),
    ("application/*;q=0.2, image/*;q=0.3", SVG),
    ("image/*;q=1, image/svg+xml;q=0.1, application/json;q=0.2", JSON),
    ("*/*;q=0.1, application/json;q=0, image/svg+xml;q=0.1", SVG),
    ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8", JSON),
    ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", SVG),
    ("text/html", JSON),
    ("image/svg+xml;q=abc", JSON),
    ("image/svg+xml;q=2, application/json;q=0.1", JSON),
    ("image/svg+xml;q=-1", JSON),
    ("image/svg+xml;q=", JSON),
    ("image/svg+xml;q=nan", JSON),
    ("image/svg+xml;q=1.000", SVG),
    ("image/svg+xml;Q=0.3, application/json;q=0.2", SVG),
    (";;;,,,///", JSON),
    ('"image/svg+xml', JSON),
    ('application/json;profile="a, image/svg+xml";q=0.2, image/svg+xml;q=0.1', JSON),
]


@pytest.mark.parametrize(("accept", "answered"), ACCEPTED)
def test_a_plot_goes_to_who_wants_it_more_than_json(accept: str, answered: str) -> None:
    assert (SVG if prefers(accept, SVG, JSON) else JSON) == answered


CODINGS = [
    ("", None),
    ("gzip", "gzip"),
    ("x-gzip", "gzip"),
    ("GZIP", "gzip"),
    ("deflate", "deflate"),
    ("gzip, deflate, br, zstd", "gzip"),
    ("br, deflate, gzip", "deflate"),
    ("deflate;q=0.5, gzip", "gzip"),
    ("gzip;q=0", None),
    ("gzip;q=0.000, deflate", "deflate"),
    ("gzip;q=0, deflate;q=0", None),
    ("br", None),
    ("*", None),
    ("identity", None),
    ("identity, gzip;q=0.5", None),
    ("identity;q=0.5, gzip", "gzip"),
    ("gzip;q=1.0, identity; q=0.5, *;q=0", "gzip"),
    ("identity;q=0, *", "gzip"),
    ("identity;q=0, *;q=0", None),
    ("identity;q=0, gzip;q=0, *", None),
    ("gzip;q=many", None),
]


@pytest.mark.parametrize(("accept_encoding", "coding"), CODINGS)
def test_an_answer_is_compressed_as_its_caller_likes_it(accept_encoding: str, coding: str | None) -> None:
    assert preferred_coding(accept_encoding) == coding


def test_a_comma_in_quotes_divides_nothing() -> None:
    assert members('a;b="c, d" , ,e,"f\\",g"') == ['a;b="c, d"', "e", '"f\\",g"']


def test_parameters_have_names_without_case_and_values_without_quotes() -> None:
    field = 'Form-Data; NAME="a\\"b;c" ; filename = x.jpg; name=second; flag'
    assert parameters(field) == ("form-data", {"name": 'a"b;c', "filename": "x.jpg", "flag": ""})
    assert parameters("") == ("", {})


def test_a_weight_that_is_none_takes_its_member_along_and_the_higher_of_two_counts() -> None:
    assert weights("a;q=0.5, b;q=x, A, c;q=0, c;q=.25") == {"a": 1.0, "c": 0.25}


@pytest.mark.parametrize("unit", ['"', '"\\', "\\", 'a="', '"\\"', ",", ";", 'a;q="', "\n"])
@pytest.mark.parametrize("end", ["", "\\", '"', "\\\n"])
def test_a_long_field_that_is_none_names_nothing_that_we_have(unit: str, end: str) -> None:
    """Parsing takes linear time; a parser that tries quotes again and again would take a minute."""
    field = unit * 16_000 + end
    assert preferred_coding(field) is None
    assert not prefers(field, SVG, JSON)
    assert "".join(members(field)).replace(",", "") == field.replace(",", "").strip() or "\n" in field
