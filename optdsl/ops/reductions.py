"""Rows of the functions that add numbers up: norms, products and clipping of appendix H."""

from typing import Any

import numpy as np

from optdsl.ops.elementwise import COMMUTATIVE, EVEN, XY, X
from optdsl.ops.kinds import last_scalar, reduce_all, reduce_each
from optdsl.ops.opdef import OpDef, Over


def _norm(x: Any) -> Any:
    return np.sqrt(np.vdot(x, x))


def _cosine_sim(x: Any, y: Any) -> Any:
    return np.divide(np.vdot(x, y), np.multiply(_norm(x), _norm(y)))


def _clip_by_global_norm(x: Any, bound: Any) -> Any:
    length = _norm(x)
    return x if length < bound else np.multiply(np.divide(x, length), bound)


# fmt: off
REDUCTIONS: tuple[OpDef, ...] = (
    OpDef("norm", X, "xp.sqrt({s0})", _norm,
          "The Euclidean norm of each weight array: one number for each.",
          rule=reduce_each, sums=("xp.square({x})",), over=Over.ARRAY, props=EVEN),
    OpDef("global_norm", X, "xp.sqrt({s0})", _norm,
          "The Euclidean norm of all numbers as one vector.",
          rule=reduce_all, sums=("xp.square({x})",), over=Over.TREE, props=EVEN),
    OpDef("dot", XY, "{s0}", np.vdot,
          "The dot product, of all numbers as two vectors.",
          rule=reduce_all, sums=("{x} * {y}",), over=Over.TREE, props=COMMUTATIVE),
    OpDef("cosine_sim", XY, "{s0} / (xp.sqrt({s1}) * xp.sqrt({s2}))", _cosine_sim,
          "The cosine of the angle between all numbers as two vectors; NaN for a zero vector.",
          rule=reduce_all, sums=("{x} * {y}", "xp.square({x})", "xp.square({y})"),
          over=Over.TREE, props=COMMUTATIVE),
    OpDef("clip_by_global_norm", ("x", "bound"),
          "xp.where(xp.sqrt({s0}) < {bound}, {x}, {x} / xp.sqrt({s0}) * {bound})",
          _clip_by_global_norm,
          "x, scaled down to the global norm `bound`, a scalar, where it is not smaller.",
          rule=last_scalar, sums=("xp.square({x})",), over=Over.TREE, aliases=("clip",)),
)
# fmt: on
