"""Matrix products and Einsum."""

from export.gradient.rules.products import einsum, linear

__all__ = ["einsum", "linear"]
