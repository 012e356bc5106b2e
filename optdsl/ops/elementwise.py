"""Rows of the elementwise functions and the constants of appendix H."""

import math
from typing import Any

import numpy as np

from optdsl.ops.kinds import constant, last_scalar
from optdsl.ops.opdef import OpDef, Prop

COMMUTATIVE = frozenset({Prop.COMMUTATIVE})
ODD = frozenset({Prop.ODD})
EVEN = frozenset({Prop.EVEN})
MONOTONE = frozenset({Prop.MONOTONE})
ODD_MONOTONE = ODD | MONOTONE

X = ("x",)
XY = ("x", "y")


def _exp10(x: Any) -> Any:
    return np.float_power(10.0, x).astype(np.asarray(x).dtype)


def _sign(x: Any) -> Any:
    # np.sign(-0.0) is 0.0 or -0.0, by dtype.
    return np.where(np.equal(x, 0), x, np.sign(x))


def _maximum(x: Any, y: Any) -> Any:
    # Of two zeros np.maximum takes the first or the second, by dtype; 0.0 is the larger.
    zeros = np.equal(x, 0) & np.equal(y, 0)
    return np.where(zeros, np.add(x, y), np.maximum(x, y))


def _minimum(x: Any, y: Any) -> Any:
    return np.negative(_maximum(np.negative(x), np.negative(y)))


def _interpolate(x: Any, y: Any, a: Any) -> Any:
    return np.add(np.multiply(np.subtract(1, a), x), np.multiply(a, y))


SIGN = '''
def sign(x):
    """-1, 0 or 1, and NaN where x is NaN: torch.sign gives 0 there."""
    return torch.where(torch.isnan(x), x, torch.sign(x))
'''

CBRT = '''
def cbrt(x):
    """The cube root, which torch lacks."""
    return torch.copysign(torch.abs(x) ** (1 / 3), x)
'''


# fmt: off
ELEMENTWISE: tuple[OpDef, ...] = (
    OpDef("abs", X, "xp.abs({x})", np.abs, "The absolute value.", props=EVEN),
    OpDef("cos", X, "xp.cos({x})", np.cos, "The cosine.", props=EVEN),
    OpDef("sin", X, "xp.sin({x})", np.sin, "The sine.", props=ODD),
    OpDef("tan", X, "xp.tan({x})", np.tan, "The tangent.", props=ODD),
    OpDef("arcsin", X, "xp.arcsin({x})", np.arcsin,
          "The inverse sine; NaN outside of [-1, 1].", props=ODD_MONOTONE,
          protected="arcsin(maximum(minimum(x, 1), -1))"),
    OpDef("arccos", X, "xp.arccos({x})", np.arccos,
          "The inverse cosine; NaN outside of [-1, 1].",
          protected="arccos(maximum(minimum(x, 1), -1))"),
    OpDef("arctan", X, "xp.arctan({x})", np.arctan, "The inverse tangent.", props=ODD_MONOTONE),
    OpDef("exp", X, "xp.exp({x})", np.exp, "e to the power x.", props=MONOTONE),
    OpDef("log", X, "xp.log({x})", np.log,
          "The natural logarithm; NaN below 0.", props=MONOTONE, protected="log(abs(x))"),
    OpDef("sinh", X, "xp.sinh({x})", np.sinh, "The hyperbolic sine.", props=ODD_MONOTONE),
    OpDef("cosh", X, "xp.cosh({x})", np.cosh, "The hyperbolic cosine.", props=EVEN),
    OpDef("tanh", X, "xp.tanh({x})", np.tanh, "The hyperbolic tangent.", props=ODD_MONOTONE),
    OpDef("arcsinh", X, "xp.arcsinh({x})", np.arcsinh,
          "The inverse hyperbolic sine.", props=ODD_MONOTONE),
    OpDef("arccosh", X, "xp.arccosh({x})", np.arccosh,
          "The inverse hyperbolic cosine; NaN below 1.", props=MONOTONE,
          protected="arccosh(maximum(x, 1))"),
    OpDef("arctanh", X, "xp.arctanh({x})", np.arctanh,
          "The inverse hyperbolic tangent; NaN outside of [-1, 1].", props=ODD_MONOTONE,
          protected="arctanh(maximum(minimum(x, 0.999999), -0.999999))"),
    OpDef("sign", X, "xp.sign({x})", _sign, "-1, 0 or 1.", props=ODD_MONOTONE,
          torch="sign({x})", torch_helper=SIGN),
    OpDef("exp2", X, "xp.exp2({x})", np.exp2, "2 to the power x.", props=MONOTONE),
    OpDef("exp10", X, "xp.power(10.0, {x})", _exp10, "10 to the power x.", props=MONOTONE,
          torch="10.0 ** {x}"),
    OpDef("expm1", X, "xp.expm1({x})", np.expm1,
          "exp(x) - 1, accurate near 0.", props=MONOTONE),
    OpDef("log10", X, "xp.log10({x})", np.log10,
          "The logarithm to base 10; NaN below 0.", props=MONOTONE, protected="log10(abs(x))"),
    OpDef("log2", X, "xp.log2({x})", np.log2,
          "The logarithm to base 2; NaN below 0.", props=MONOTONE, protected="log2(abs(x))"),
    OpDef("log1p", X, "xp.log1p({x})", np.log1p,
          "log(1 + x), accurate near 0; NaN below -1.", props=MONOTONE,
          protected="log1p(abs(x))"),
    OpDef("square", X, "xp.square({x})", np.square, "x times x.", props=EVEN),
    OpDef("sqrt", X, "xp.sqrt({x})", np.sqrt,
          "The square root; NaN below 0.", props=MONOTONE, protected="sqrt(abs(x))"),
    OpDef("cube", X, "{x} * {x} * {x}", lambda x: np.multiply(np.square(x), x),
          "x times x times x.", props=ODD_MONOTONE),
    OpDef("cbrt", X, "xp.cbrt({x})", np.cbrt, "The cube root.", props=ODD_MONOTONE,
          torch="cbrt({x})", torch_helper=CBRT),
    OpDef("reciprocal", X, "1 / {x}", lambda x: np.divide(1, x), "1 / x.", props=ODD,
          protected="1 / where(x < 0, minimum(x, -1e-8), maximum(x, 1e-8))"),
    OpDef("+", XY, "{x} + {y}", np.add, "The sum.", props=COMMUTATIVE, syntax="{x} + {y}"),
    OpDef("-", XY, "{x} - {y}", np.subtract, "The difference.", syntax="{x} - {y}"),
    OpDef("*", XY, "{x} * {y}", np.multiply, "The product.", props=COMMUTATIVE,
          syntax="{x} * {y}"),
    OpDef("/", XY, "{x} / {y}", np.divide, "The quotient.", syntax="{x} / {y}",
          protected="x / where(y < 0, minimum(y, -1e-8), maximum(y, 1e-8))"),
    OpDef("power", XY, "xp.power({x}, {y})", np.power,
          "x to the power y, also written `x ** y`; NaN for x below 0 and a y that is not whole.",
          protected="abs(x) ** y", torch="{x} ** {y}"),
    OpDef("maximum", XY, "xp.maximum({x}, {y})", _maximum,
          "The larger; NaN if either is.", props=COMMUTATIVE, aliases=("max",)),
    OpDef("minimum", XY, "xp.minimum({x}, {y})", _minimum,
          "The smaller; NaN if either is.", props=COMMUTATIVE, aliases=("min",)),
    OpDef("interpolate", ("x", "y", "a"), "(1 - {a}) * {x} + {a} * {y}", _interpolate,
          "(1 - a) * x + a * y, for a scalar a: an average that gives y the weight a.",
          rule=last_scalar, aliases=("interp",)),
    OpDef("get_pi", (), "3.141592653589793", lambda: math.pi, "The number π.", rule=constant),
    OpDef("get_e", (), "2.718281828459045", lambda: math.e, "The number e.", rule=constant),
    OpDef("get_eps", (), "1e-08", lambda: 1e-8, "The small number ε = 1e-8.", rule=constant),
)
# fmt: on
