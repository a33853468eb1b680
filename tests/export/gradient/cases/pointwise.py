"""Arithmetic, functions of one number, activations and softmax."""

from __future__ import annotations

from tests.export.gradient.cases.case import Case, case, ints, w

POSITIVE = (0.3, 2.0)
SATURATED = (-30.0, 30.0)

ARITHMETIC = [
    case("Add", (3, 4), "x", "u"),
    case("Add", (3, 4), "x", w(3, 1)),
    case("Add", (3, 4), w(1, 1, 4), "x"),
    case("Mul", (3, 4), "x", "u"),
    case("Mul", (3, 4), "x", w(1, 4)),
    case("Mul", (3, 4), "x", "x", note="squared"),
    case("Sub", (3, 4), "x", "u"),
    case("Sub", (3, 4), w(4), "x", note="from a vector"),
    case("Div", (3, 4), "x", "u"),
    case("Div", (3, 4), "x", w(3, 1, low=0.5, high=2.0)),
    case("Div", (3, 4), w(1, 1, 4), "x", domain=POSITIVE, note="by the image"),
    case("Sum", (3, 4), "x", "u", w(4)),
    case("Mean", (3, 4), "x", "u", w(3, 1)),
    case("Pow", (3, 4), "x", w(1, low=2.0, high=2.0), note="square"),
    case("Pow", (3, 4), "x", ints(3), note="cube by an integer"),
    case("Pow", (3, 4), "x", w(4, low=-1.5, high=2.5), domain=POSITIVE, note="trained exponents"),
    case("Pow", (3, 4), "x", w(4, low=0.0, high=0.0), domain=POSITIVE, note="exponent 0"),
    case("Pow", (3, 4), "x", "u", domain=POSITIVE, note="both computed"),
    case("Max", (3, 4), "x", "u"),
    case("Max", (3, 4), "x", w(1, 4), w(3, 1), note="three operands"),
    case("Max", (3, 4), "x", note="one operand"),
    case("Min", (3, 4), "x", "u", w(1)),
    case("Where", (3, 4), w(3, 4) > 0, "x", "u"),
    case("Where", (3, 4), w(1, 3, 1) > 0, "x", w(4), note="constant branch"),
    case("Mul", (1, 4), "x", w(5, 1), note="repeats the image"),
]

FUNCTIONS = [
    case("Neg", (3, 4)),
    case("Abs", (3, 4)),
    case("Reciprocal", (3, 4), domain=POSITIVE),
    case("Sqrt", (3, 4), domain=POSITIVE),
    case("Exp", (3, 4)),
    case("Log", (3, 4), domain=POSITIVE),
    case("Erf", (3, 4)),
    case("Sin", (3, 4)),
    case("Cos", (3, 4)),
]

ACTIVATIONS = [
    case("Relu", (3, 4)),
    case("Sigmoid", (3, 4)),
    case("Tanh", (3, 4)),
    case("LeakyRelu", (3, 4)),
    case("LeakyRelu", (3, 4), alpha=0.3),
    case("PRelu", (3, 4), "x", w(3, 1)),
    case("PRelu", (3, 4), "x", w(1), note="one slope"),
    case("PRelu", (3, 4), "x", "u", note="computed slope"),
    case("ThresholdedRelu", (3, 4)),
    case("ThresholdedRelu", (3, 4), alpha=0.2),
    case("Elu", (3, 4)),
    case("Elu", (3, 4), alpha=0.7),
    case("Elu", (3, 4), domain=SATURATED, note="saturated"),
    case("Selu", (3, 4)),
    case("Selu", (3, 4), alpha=1.5, gamma=1.1),
    case("Celu", (3, 4), alpha=0.4),
    case("Celu", (3, 4), domain=SATURATED, note="saturated"),
    case("Clip", (3, 4), "x", w(low=0.0, high=0.0), w(low=1.0, high=1.0)),
    case("Clip", (3, 4), "x", w(low=-0.5, high=-0.5), note="from below"),
    case("Clip", (3, 4), "x", None, w(low=0.5, high=0.5), note="from above"),
    case("Clip", (3, 4), "x", note="no bounds"),
    case("HardSigmoid", (3, 4)),
    case("HardSigmoid", (3, 4), alpha=0.9, beta=0.4),
    case("HardSwish", (3, 4), domain=(-5.0, 5.0)),
    case("Softplus", (3, 4)),
    case("Softplus", (3, 4), domain=SATURATED, note="saturated"),
    case("Softsign", (3, 4)),
    case("Gelu", (3, 4)),
    case("Gelu", (3, 4), approximate="tanh"),
    case("Gelu", (3, 4), domain=(-6.0, 6.0), approximate="tanh", note="saturated"),
    case("Mish", (3, 4)),
    case("Mish", (3, 4), domain=SATURATED, note="saturated"),
    case("Sigmoid", (3, 4), domain=SATURATED, note="saturated"),
    case("Tanh", (3, 4), domain=(-10.0, 10.0), note="saturated"),
    case("Softmax", (3, 4)),
    case("Softmax", (3, 4), axis=1),
    case("Softmax", (3, 4), domain=SATURATED, note="saturated"),
    case("LogSoftmax", (3, 4)),
    case("LogSoftmax", (3, 4), axis=-2),
    case("LogSoftmax", (3, 4), domain=SATURATED, note="saturated"),
]

POINTWISE: list[Case] = [*ARITHMETIC, *FUNCTIONS, *ACTIVATIONS]
