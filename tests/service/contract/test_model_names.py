"""A model that nobody has named is called after its path."""

from __future__ import annotations

import pytest

from service.contract.model_names import fit_name


@pytest.mark.parametrize(
    ("text", "name"),
    [("net", "net"), ("My net (v2)", "My-net-v2-"), ("größe", "gr-e"), ("_x", "x"), ("日本", ""), ("a" * 80, "a" * 64)],
)
def test_a_name_is_made_fit(text: str, name: str) -> None:
    assert fit_name(text) == name
