"""Products with a constant matrix, and of two computed tensors."""

from __future__ import annotations

import numpy as np

from tests.export.gradient.cases.case import Case, case, w

PRODUCTS: list[Case] = [
    case("Gemm", (6,), "x", w(6, 4), w(4)),
    case("Gemm", (6,), "x", w(4, 6), w(4), transB=1, alpha=0.5, beta=2.0),
    case("Gemm", (6,), "x", w(4, 6), transB=1, note="no bias"),
    case("Gemm", (6,), "x", w(4, 6), w(), transB=1, note="one bias for all"),
    case("MatMul", (6,), "x", w(6, 4)),
    case("MatMul", (5, 6), "x", w(6, 4), note="tokens, direct"),
    case("MatMul", (2, 5, 6), "x", w(6, 4), note="tokens of two axes"),
    case("MatMul", (2, 8, 9), "x", w(9, 12), note="ghost norm", domain=(-0.5, 0.5)),
    case("MatMul", (5, 6), w(3, 5), "x", note="constant on the left"),
    case("MatMul", (4, 4), "x", "u", note="both computed"),
    case("DFT", (5, 2), "x"),
    case("DFT", (5, 4, 2), "x", None, np.array(1), inverse=1),
    case("DFT", (6, 1), "x", np.array(8), onesided=1, note="longer"),
    case("DFT", (6, 2), "x", np.array(4), note="shorter"),
    case("DFT", (5, 2), "x", None, np.array(-2), inverse=1, onesided=1),
    case("MatMul", (5, 6), "x", w(6), note="by a vector"),
    case("MatMul", (5, 6), w(5), "x", note="a vector on the left"),
    case("Einsum", (3, 4), "x", w(4, 5), equation="bij,jk->bik"),
    case("Einsum", (3, 4), "x", "u", equation="bij,bkj->bik"),
    case("Einsum", (3, 4), "x", w(3), equation="...ij,i->...j"),
    case("Einsum", (3, 4), w(2, 3), "x", "u", equation="hi,bij,bij->bjh", note="three operands"),
    case("Einsum", (3, 4), "x", equation="bij->bji"),
    case("Einsum", (3, 4), "x", w(4, 5), equation="bij,jk", note="implicit result"),
    case("Einsum", (3, 4), "x", w(4, 5), equation="bij,jk->bi", note="a parameter's own index is summed"),
    case("Einsum", (3, 4), "x", "u", equation="bij,bkl->bk", note="all indices of one operand are summed"),
    case("Einsum", (3, 4), "x", w(1, 3, 1), equation="...ij,...ij->...j", note="a parameter is repeated"),
    case("Einsum", (3, 1), "x", w(3, 4), equation="b...,...->b...", note="the image is repeated"),
]
