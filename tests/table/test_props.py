"""Each algebraic property that a row claims, under the reference and jitted JAX."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.arrays import same_bits, ulps
from support.grids import arguments, numbers, trees

from optdsl.backends.reference import DTYPES
from optdsl.ops import OPS, OpDef, Over, Prop
from optdsl.ops.expression import lower_function, sum_functions

Blocks = list[Any]
Function = Callable[..., Blocks]
"""From blocks of each argument to the result's blocks."""

DTYPE_NAMES = ("float32", "bfloat16", "float16")
BACKENDS = ("reference", "jax")

LAST_BITS = {
    ("sinh", Prop.ODD): 3,  # made from expm1(x): 3 ulps at -0.85833764; differs 950 times in 4,000
    ("sinh", Prop.MONOTONE): 2,  # falls by 2 ulps at -0.30000263 and 3 times more
    ("tanh", Prop.MONOTONE): 2,  # by up to 2 ulps, 88 times in 4,000 numbers
    ("expm1", Prop.MONOTONE): 2,  # falls by 2 ulps at -0.30000275 and 4 times more
}
"""By how many ulps XLA's approximations on the CPU miss a property, in float32; else bitwise."""


def by_reference(op: OpDef) -> Function:
    """The row's `ref`, with NumPy's warnings off."""

    @np.errstate(all="ignore")
    def function(*args: Blocks) -> Blocks:
        return [np.asarray(op.ref(*each)).astype(each[0].dtype) for each in zip(*args, strict=True)]

    return function


@cache
def by_jax(op: OpDef) -> Function:
    """The row's `sums` and `lower` on blocks, which are matrices where it adds up.

    Compiled once for all blocks and tests: this is what takes the time.
    """
    axis = {Over.ROW: 1, Over.COLUMN: 0}.get(op.over)

    def one(*args: Any) -> Any:
        n = args[0].size if axis is None else args[0].shape[axis]
        keep = axis is not None
        sums = [jnp.sum(f(jnp, args), axis, keepdims=keep) for f in sum_functions(op)]
        return lower_function(op)(jnp, args, sums, n).astype(args[0].dtype)

    compiled = jax.jit(lambda *args: [one(*each) for each in zip(*args, strict=True)])
    return lambda *args: [np.asarray(block) for block in compiled(*args)]


def rows(prop: Prop) -> list[Any]:
    """Every claim of a property, in every backend."""
    return [
        pytest.param(op, backend, id=f"{op.name}-{backend}")
        for op in OPS
        if prop in op.props
        for backend in BACKENDS
    ]


def function_of(op: OpDef, backend: str) -> Function:
    return by_jax(op) if backend == "jax" else by_reference(op)


@cache
def ascending(dtype: str) -> Any:
    """All sorts of numbers, with runs of adjacent ones, in order; NaN last."""
    grid = np.concatenate([numbers(dtype), neighbours(dtype)])
    return np.sort(grid.astype(np.float64)).astype(DTYPES[dtype])


def inputs(op: OpDef) -> list[Blocks]:
    """Blocks of each argument: grids for elementwise functions, matrices for the others."""
    if op.over is Over.NOTHING:
        if len(op.args) == 1:
            return [[ascending(dtype) for dtype in DTYPE_NAMES]]
        grids = [arguments(len(op.args), dtype) for dtype in DTYPE_NAMES]
        return [list(blocks) for blocks in zip(*grids, strict=True)]
    matrices = [np.resize(tree[-1], (4, 6)) for tree in trees().values() if tree]
    matrices = [matrix.astype(np.float32) for matrix in matrices]
    # Sums that vanish, by numbers that cancel.
    matrices.append(np.resize(np.float32([1, -1]), (4, 6)))
    turned = [np.ascontiguousarray(matrix[::-1, ::-1]) for matrix in matrices]
    return [matrices, turned][: len(op.args)]


@pytest.mark.parametrize(("op", "backend"), rows(Prop.COMMUTATIVE))
def test_commutative(op: OpDef, backend: str) -> None:
    assert len(op.args) == 2
    function, (x, y) = function_of(op, backend), inputs(op)
    for one, other, *given in zip(function(x, y), function(y, x), x, y, strict=True):
        assert_same(op, one, other, *given)


@pytest.mark.parametrize(("op", "backend"), rows(Prop.ODD))
def test_odd(op: OpDef, backend: str) -> None:
    function, (blocks,) = function_of(op, backend), inputs(op)
    for one, other, x in zip(function(negative(blocks)), function(blocks), blocks, strict=True):
        other = -other
        if op.over is not Over.NOTHING:
            one, other = one + 0, other + 0  # -0.0 + 0 is 0.0
        if backend == "jax" and x.dtype == np.float32 and (op.name, Prop.ODD) in LAST_BITS:
            assert np.max(ulps(one, other)) <= LAST_BITS[op.name, Prop.ODD]
        else:
            assert_same(op, one, other, x)


@pytest.mark.parametrize(("op", "backend"), rows(Prop.EVEN))
def test_even(op: OpDef, backend: str) -> None:
    function, (blocks,) = function_of(op, backend), inputs(op)
    for one, other, x in zip(function(negative(blocks)), function(blocks), blocks, strict=True):
        assert_same(op, one, other, x)


def negative(blocks: Blocks) -> Blocks:
    return [-block for block in blocks]


@pytest.mark.parametrize(("op", "backend"), rows(Prop.MONOTONE))
def test_monotone(op: OpDef, backend: str) -> None:
    assert op.over is Over.NOTHING
    (blocks,) = inputs(op)
    for grid, found in zip(blocks, function_of(op, backend)(blocks), strict=True):
        domain = np.flatnonzero(~np.isnan(found.astype(np.float64)))
        inside = slice(domain[0], domain[-1] + 1)
        values, grid = found[inside], grid[inside]
        assert len(domain) == len(values), "the domain has a gap"
        falls = np.flatnonzero(values[1:].astype(np.float64) < values[:-1].astype(np.float64))
        if falls.size:
            text = f"{op.name} falls {falls.size} times, first at {grid[falls[0]]!r}"
            assert backend == "jax", text
            assert grid.dtype == np.float32, text
            bound = LAST_BITS.get((op.name, Prop.MONOTONE), 0)
            assert np.max(ulps(values[1:][falls], values[:-1][falls])) <= bound, text


def neighbours(dtype: str) -> Any:
    """Runs of adjacent floats: where an approximation would not be monotone."""
    starts = np.array([0.001, 0.3, 0.5, 0.999, 1.0, 2.0, 10.0, 50.0]).astype(DTYPES[dtype])
    bits = starts.view(np.int32 if dtype == "float32" else np.int16)
    runs = (bits[:, None] + np.arange(100, dtype=bits.dtype)).ravel().view(starts.dtype)
    return np.concatenate([runs, -runs])


def assert_same(op: OpDef, a: Any, b: Any, *args: Any) -> None:
    if same_bits(a, b):
        return
    pairs = zip(np.ravel(a), np.ravel(b), strict=True)
    differs = np.array([not same_bits(*pair) for pair in pairs])
    first = int(np.flatnonzero(differs)[0])
    given = [each.flat[first] if np.size(each) == np.size(a) else each.tolist() for each in args]
    raise AssertionError(
        f"{op.name}{tuple(given)}, {a.dtype}: {a.flat[first]!r} and {b.flat[first]!r}"
        f" ({differs.sum()} of {differs.size})"
    )
