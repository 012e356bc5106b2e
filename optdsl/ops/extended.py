"""Rows of the set `extended`: functions for people who write optimizers, not in the paper."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from optdsl.ops.elementwise import ODD, XY, X
from optdsl.ops.kinds import (
    matrix_product,
    of_shape,
    reduce_all,
    reduce_columns,
    reduce_rows,
    square,
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


def _rows(x: Any) -> int:
    return math.prod(np.shape(x)[:-1])


def _columns(x: Any) -> int:
    return np.shape(x)[-1] if np.ndim(x) else 1


def _inverse_root(x: Any, p: Any) -> Any:
    if not np.all(np.isfinite(x)):
        return np.full_like(x, np.nan)
    working = np.float64 if x.dtype == np.float64 else np.float32
    wide = np.asarray(x, np.float64)
    values, vectors = np.linalg.eigh((wide + wide.T) / 2)
    values = np.maximum(values, len(x) * np.finfo(working).eps * np.max(values, initial=0))
    return (vectors * values ** (-1 / p)) @ vectors.T


INVERSE_ROOT = '''
def inverse_root(x, p):
    """x to the power -1/p, for a symmetric x whose smallest eigenvalues are rounding errors."""
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    values, vectors = jnp.linalg.eigh(x.astype(dtype))
    error = x.shape[0] * jnp.finfo(dtype).eps * jnp.max(values, initial=0)
    return ((vectors * jnp.maximum(values, error) ** (-1 / p)) @ vectors.T).astype(x.dtype)
'''


def _orthonormal(x: Any) -> Any:
    if not np.all(np.isfinite(x)):
        return np.full_like(x, np.nan)
    working = np.float64 if x.dtype == np.float64 else np.float32
    wide = np.asarray(x, np.float64)
    longest = np.max(np.linalg.norm(wide, axis=0), initial=0)
    left = np.abs(np.diagonal(np.linalg.qr(wide, mode="r")))
    dependent = left <= 10 * len(x) ** 0.5 * np.finfo(working).eps * longest
    columns = [*np.flatnonzero(~dependent), *np.flatnonzero(dependent)]
    q, r = np.linalg.qr(np.where(dependent, 0, wide)[:, columns])
    found = np.empty_like(wide)
    found[:, columns] = np.where(np.diagonal(r) < 0, -q, q)
    return found


# Without the zeros, what rounding leaves of a dependent column would be its direction. The ten is
# for safety: QR leaves about eps times the square root of the number of rows.
ORTHONORMAL = '''
def orthonormal(x):
    """The Q of x = QR, R's diagonal not negative; dependent columns come last, as zeros."""
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    wide = x.astype(dtype)
    longest = jnp.max(jnp.linalg.norm(wide, axis=0), initial=0)
    left = jnp.abs(jnp.diagonal(jnp.linalg.qr(wide, mode="r")))
    dependent = left <= 10 * x.shape[0] ** 0.5 * jnp.finfo(dtype).eps * longest
    order = jnp.argsort(dependent)
    q, r = jnp.linalg.qr(jnp.where(dependent, 0, wide)[:, order])
    return jnp.where(jnp.diagonal(r) < 0, -q, q)[:, jnp.argsort(order)].astype(x.dtype)
'''


TORCH_MATMUL = '''
def matmul(x, y):
    """The matrix product, in the dtype that both are promoted to."""
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype) @ y.to(dtype)
'''

TORCH_INVERSE_ROOT = '''
def inverse_root(x, p):
    """x to the power -1/p, for a symmetric x whose smallest eigenvalues are rounding errors."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    values, vectors = torch.linalg.eigh(x.to(dtype))
    error = x.shape[0] * torch.finfo(dtype).eps * torch.clamp(torch.amax(values), min=0)
    return ((vectors * torch.maximum(values, error) ** (-1 / p)) @ vectors.T).to(x.dtype)
'''

TORCH_ORTHONORMAL = '''
def orthonormal(x):
    """The Q of x = QR, R's diagonal not negative; dependent columns come last, as zeros."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    wide = x.to(dtype)
    longest = torch.amax(torch.linalg.norm(wide, dim=0))
    left = torch.abs(torch.diagonal(torch.linalg.qr(wide, mode="r")[1]))
    dependent = left <= 10 * len(x) ** 0.5 * torch.finfo(dtype).eps * longest
    order = torch.argsort(dependent.int(), stable=True)
    q, r = torch.linalg.qr(torch.where(dependent, 0, wide)[:, order])
    return torch.where(torch.diagonal(r) < 0, -q, q)[:, torch.argsort(order)].to(x.dtype)
'''


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
          rule=reduce_rows, sums=("{x}",), over=Over.ROW, props=ODD, sets=EXTENDED_SET),
    OpDef("column_mean", X, "{s0} / {n}", lambda x: _mean(x, axis=0),
          "The mean of each column of a weight array, the last dimension being the columns.",
          rule=reduce_columns, sums=("{x}",), over=Over.COLUMN, props=ODD, sets=EXTENDED_SET),
    OpDef("transpose", X, "{x}.T", np.transpose, "Rows and columns exchanged.",
          rule=swap_extents, over=Over.MATRIX, sets=EXTENDED_SET),
    OpDef("matmul", XY, "xp.matmul({x}, {y})", np.matmul, "The matrix product.",
          rule=matrix_product, over=Over.MATRIX, sets=EXTENDED_SET,
          torch="matmul({x}, {y})", torch_helper=TORCH_MATMUL),
    OpDef("row_max", X, "xp.max({x}, axis=1, keepdims=True)",
          lambda x: np.max(x, axis=1, keepdims=True),
          "The largest number of each row of a weight array; NaN if any is.",
          rule=reduce_rows, over=Over.MATRIX, sets=EXTENDED_SET,
          torch="torch.amax({x}, dim=1, keepdim=True)"),
    OpDef("column_max", X, "xp.max({x}, axis=0, keepdims=True)",
          lambda x: np.max(x, axis=0, keepdims=True),
          "The largest number of each column of a weight array; NaN if any is.",
          rule=reduce_columns, over=Over.MATRIX, sets=EXTENDED_SET,
          torch="torch.amax({x}, dim=0, keepdim=True)"),
    OpDef("identity", X, "xp.eye({x}.shape[0], dtype={x}.dtype)",
          lambda x: np.eye(len(x), dtype=x.dtype),
          "The identity matrix of x's size, for a square x.",
          rule=square, over=Over.MATRIX, sets=EXTENDED_SET,
          torch="torch.eye(len({x}), dtype={x}.dtype, device={x}.device)"),
    OpDef("inverse_root", ("x", "p"), "inverse_root({x}, {p})", _inverse_root,
          "x to the power -1/p, for a symmetric x without negative eigenvalues; those below the"
          " rounding error of the largest are taken to be as large as that.",
          rule=square, over=Over.MATRIX, sets=EXTENDED_SET, helper=INVERSE_ROOT,
          torch="inverse_root({x}, {p})", torch_helper=TORCH_INVERSE_ROOT),
    OpDef("orthonormal", X, "orthonormal({x})", _orthonormal,
          "The columns of a square x made orthonormal one after the other, the Q of x = QR; those"
          " that depend on earlier ones, up to rounding errors, come last and as zeros.",
          rule=square, over=Over.MATRIX, sets=EXTENDED_SET, helper=ORTHONORMAL,
          torch="orthonormal({x})", torch_helper=TORCH_ORTHONORMAL, version=2),
    OpDef("rank", X, "{x}.ndim", np.ndim, "How many dimensions each weight array has.",
          rule=of_shape, over=Over.SHAPE, sets=EXTENDED_SET),
    OpDef("rows", X, "matrix({x}).shape[0]", _rows,
          "How many rows each weight array has, the last dimension being the columns.",
          rule=of_shape, over=Over.SHAPE, sets=EXTENDED_SET),
    OpDef("columns", X, "matrix({x}).shape[1]", _columns,
          "How many columns each weight array has, the last dimension being the columns.",
          rule=of_shape, over=Over.SHAPE, sets=EXTENDED_SET),
    OpDef("label", X, "label", lambda x: 0.0,
          "The number that each weight array is given where the optimizer is made, or else 0.",
          rule=of_shape, over=Over.SHAPE, sets=EXTENDED_SET),
)
# fmt: on
