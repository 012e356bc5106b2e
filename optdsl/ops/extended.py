"""Rows of the set `extended`: functions for people who write optimizers, not in the paper."""

from collections.abc import Callable
from typing import Any

import numpy as np

from optdsl.ops.elementwise import ODD, XY, X
from optdsl.ops.kinds import (
    matrix_product,
    mean_of_columns,
    mean_of_rows,
    reduce_all,
    swap_extents,
)
from optdsl.ops.opdef import FunctionSet, OpDef, Over

EXTENDED_SET = frozenset({FunctionSet.EXTENDED})


def _mean(x: Any, axis: int | None = None) -> Any:
    # np.mean warns where there are no numbers; 0 / 0 is NaN as any division by zero is.
    total = np.sum(x, axis=axis, keepdims=axis is not None)
    return np.divide(total, np.size(x) if axis is None else np.shape(x)[axis])


def _where(compare: str, ref: Callable[[Any, Any], Any], doc: str) -> OpDef:
    """`where` with one comparison: a comparison stands nowhere else, so no kind of truth values."""
    return OpDef(
        f"where{compare}",
        ("a", "b", "x", "y"),
        f"xp.where({{a}} {compare} {{b}}, {{x}}, {{y}})",
        lambda a, b, x, y: np.where(ref(a, b), x, y),
        f"x where a is {doc} b, y elsewhere; y where a or b is NaN.",
        syntax=f"where({{a}} {compare} {{b}}, {{x}}, {{y}})",
        sets=EXTENDED_SET,
    )


# fmt: off
EXTENDED: tuple[OpDef, ...] = (
    _where("<", np.less, "less than"),
    _where("<=", np.less_equal, "at most"),
    _where("==", np.equal, "equal to"),
    OpDef("mean", X, "{s0} / {n}", _mean, "The mean of all numbers.",
          rule=reduce_all, sums=("{x}",), over=Over.TREE, props=ODD, sets=EXTENDED_SET),
    OpDef("sum", X, "{s0}", np.sum, "The sum of all numbers.",
          rule=reduce_all, sums=("{x}",), over=Over.TREE, props=ODD, sets=EXTENDED_SET),
    OpDef("row_mean", X, "{s0} / {n}", lambda x: _mean(x, axis=1),
          "The mean of each row of a weight array, the last dimension being the columns.",
          rule=mean_of_rows, sums=("{x}",), over=Over.ROW, props=ODD, sets=EXTENDED_SET),
    OpDef("column_mean", X, "{s0} / {n}", lambda x: _mean(x, axis=0),
          "The mean of each column of a weight array, the last dimension being the columns.",
          rule=mean_of_columns, sums=("{x}",), over=Over.COLUMN, props=ODD, sets=EXTENDED_SET),
    OpDef("transpose", X, "{x}.T", np.transpose, "Rows and columns exchanged.",
          rule=swap_extents, over=Over.MATRIX, sets=EXTENDED_SET),
    OpDef("matmul", XY, "xp.matmul({x}, {y})", np.matmul, "The matrix product.",
          rule=matrix_product, over=Over.MATRIX, sets=EXTENDED_SET),
)
# fmt: on
