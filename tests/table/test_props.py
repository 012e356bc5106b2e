"""Each algebraic property that a row claims, bitwise, under the reference and jitted JAX."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.arrays import same_bits
from support.grids import arguments, numbers, trees

from optdsl.backends.reference import DTYPES
from optdsl.ops import OPS, OpDef, Over, Prop
from optdsl.ops.expression import lower_function, sum_functions

Function = Callable[..., Any]

DTYPE_NAMES = ("float32", "bfloat16", "float16")
BACKENDS = ("reference", "jax")


def by_reference(op: OpDef) -> Function:
    """The row's `ref`, with NumPy's warnings off."""

    def function(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.asarray(op.ref(*args)).astype(args[0].dtype)

    return function


def by_jax(op: OpDef) -> Function:
    """The row's `sums` and `lower`, jitted, on blocks of two dimensions."""
    axis = {Over.ROW: 1, Over.COLUMN: 0}.get(op.over)

    def function(*args: Any) -> Any:
        n = args[0].size if axis is None else args[0].shape[axis]
        keep = axis is not None
        sums = [jnp.sum(f(jnp, args), axis, keepdims=keep) for f in sum_functions(op)]
        return lower_function(op)(jnp, args, sums, n).astype(args[0].dtype)

    jitted = jax.jit(function)
    return lambda *args: np.asarray(jitted(*args))


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


def inputs(op: OpDef) -> list[tuple[Any, ...]]:
    """Argument lists: grids for elementwise functions, matrices for the others."""
    if op.over is Over.NOTHING:
        return [arguments(len(op.args), dtype) for dtype in DTYPE_NAMES]
    matrices = [np.resize(tree[-1], (4, 6)) for tree in trees().values() if tree]
    matrices = [matrix.astype(np.float32) for matrix in matrices]
    # Sums that vanish, by numbers that cancel.
    matrices.append(np.resize(np.float32([1, -1]), (4, 6)))
    return [(m, np.ascontiguousarray(m[::-1, ::-1]))[: len(op.args)] for m in matrices]


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize(("op", "backend"), rows(Prop.COMMUTATIVE))
def test_commutative(op: OpDef, backend: str) -> None:
    assert len(op.args) == 2
    function = function_of(op, backend)
    for x, y in inputs(op):
        assert_same(op, function(x, y), function(y, x), x, y)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize(("op", "backend"), rows(Prop.ODD))
def test_odd(op: OpDef, backend: str) -> None:
    function = function_of(op, backend)
    for (x,) in inputs(op):
        assert_same(op, function(-x), -function(x), x)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize(("op", "backend"), rows(Prop.EVEN))
def test_even(op: OpDef, backend: str) -> None:
    function = function_of(op, backend)
    for (x,) in inputs(op):
        assert_same(op, function(-x), function(x), x)


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
@pytest.mark.parametrize(("op", "backend"), rows(Prop.MONOTONE))
def test_monotone(op: OpDef, backend: str, dtype: str) -> None:
    assert op.over is Over.NOTHING
    function = function_of(op, backend)
    grid = np.concatenate([numbers(dtype), neighbours(dtype)])
    grid = np.sort(grid[~np.isnan(grid)].astype(np.float64)).astype(DTYPES[dtype])
    values = function(grid).astype(np.float64)
    inside = ~np.isnan(values)  # the function's domain
    assert inside.any()
    domain = np.flatnonzero(inside)
    assert inside[domain[0] : domain[-1] + 1].all(), "the domain has a gap"
    values, grid = values[inside], grid[inside]
    falls = np.flatnonzero(values[1:] < values[:-1])
    if falls.size:
        raise AssertionError(f"{op.name} falls {falls.size} times, first at {grid[falls[0]]!r}")


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
