"""Matrix products, also as Einsum writes them.

linear   MatMul, Gemm and the factors of their weights
einsum   Einsum
"""

from export.gradient.rules.products import einsum, linear

__all__ = ["einsum", "linear"]
