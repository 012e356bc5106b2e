"""The functions of square matrices: what they are defined by, in the reference and in JAX."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from support.running import doubles

from optdsl.ops import BY_NAME
from optdsl.ops.expression import lower_function

Function = Callable[..., Any]

DTYPES = ("float32", "float64")

BACKENDS = ("reference", "jax")


@cache
def compiled(name: str) -> Function:
    return jax.jit(lambda *args: lower_function(BY_NAME[name])(jnp, args))


def function(name: str, backend: str) -> Function:
    """The function on one matrix; by JAX in double precision too."""

    def by_jax(*args: Any) -> Any:
        with doubles():
            return np.asarray(compiled(name)(*args))

    return by_jax if backend == "jax" else BY_NAME[name].ref


def matrix(dtype: str, size: int = 5) -> Any:
    """A positive definite matrix whose eigenvalues are 1 to `size`."""
    random = np.random.RandomState(size)
    q, _ = np.linalg.qr(random.standard_normal((size, size)))
    return ((q * np.arange(1.0, size + 1)) @ q.T).astype(dtype)


def error(dtype: str) -> float:
    return 100 * float(np.finfo(dtype).eps)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [1, 2, 4])
def test_powers_of_an_inverse_root_are_the_inverse(backend: str, dtype: str, p: int) -> None:
    x = matrix(dtype)
    root = function("inverse_root", backend)(x, np.asarray(p, dtype))
    np.testing.assert_allclose(root, root.T, atol=error(dtype))
    wide = np.asarray(root, np.float64)
    identity = np.linalg.matrix_power(wide, p) @ x
    np.testing.assert_allclose(identity, np.eye(len(x)), atol=10 * error(dtype))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_eigenvalues_are_as_large_as_the_rounding_error(backend: str, dtype: str) -> None:
    x = np.diag([4.0, 1e-30, -1e-30]).astype(dtype)
    root = function("inverse_root", backend)(x, np.asarray(2, dtype))
    least = 3 * float(np.finfo(dtype).eps) * 4
    wanted = np.diag([0.5, least**-0.5, least**-0.5])
    np.testing.assert_allclose(root, wanted, rtol=error(dtype), atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_inverse_root_of_zero_is_infinite(backend: str) -> None:
    with np.errstate(all="ignore"):
        root = function("inverse_root", backend)(np.zeros((2, 2), np.float32), np.float32(2))
    assert not np.isfinite(root).any()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_orthonormal_columns_span_what_the_first_ones_did(backend: str, dtype: str) -> None:
    x = np.random.RandomState(7).standard_normal((5, 5)).astype(dtype)
    q = function("orthonormal", backend)(x)
    np.testing.assert_allclose(q.T @ q, np.eye(5), atol=error(dtype))
    r = q.T @ x
    np.testing.assert_allclose(np.tril(r, -1), 0, atol=error(dtype))
    assert np.all(np.diagonal(r) > 0)


def singular(kind: str) -> Any:
    """A 6 by 6 matrix of rank 3; of rank 5 with a column of zeros, or with one twice; of rank 0."""
    random = np.random.RandomState(11)
    if kind == "low rank":
        return random.standard_normal((6, 3)) @ random.standard_normal((3, 6))
    x = random.standard_normal((6, 6))
    x[:, 2] = 0 if kind == "zeros" else x[:, 0]
    return 0 * x if kind == "nothing" else x


@pytest.mark.parametrize("kind", ["low rank", "zeros", "twice", "nothing"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_orthonormal_of_dependent_columns(dtype: str, kind: str) -> None:
    x = singular(kind).astype(dtype)
    q, found = (function("orthonormal", backend)(x) for backend in BACKENDS)
    np.testing.assert_allclose(found, q, atol=error(dtype))
    np.testing.assert_allclose(q.T @ q, np.eye(6), atol=error(dtype))
    r = q.T @ x
    independent = {"low rank": [0, 1, 2], "nothing": []}.get(kind, [0, 1, 3, 4, 5])
    basis = q[:, independent]
    np.testing.assert_allclose(basis @ (basis.T @ x), x, atol=10 * error(dtype))
    assert np.all(r[independent, independent] > 0)


@pytest.mark.parametrize("name", ["inverse_root", "orthonormal"])
def test_lowerings_agree(name: str) -> None:
    for dtype in ("bfloat16", *DTYPES):
        kind = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
        x = matrix("float64").astype(kind)
        args = (x, np.asarray(4, kind)) if name == "inverse_root" else (x,)
        expected = np.asarray(BY_NAME[name].ref(*args)).astype(kind).astype(np.float64)
        found = function(name, "jax")(*args)
        assert found.dtype == kind
        bound = 20 * float(ml_dtypes.finfo(kind).eps)
        np.testing.assert_allclose(found.astype(np.float64), expected, atol=bound)


@pytest.mark.parametrize("name", ["inverse_root", "orthonormal"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_of_nan_they_are_nan(name: str, backend: str) -> None:
    x = matrix("float32")
    x[1, 2] = np.nan
    args = (x, np.float32(4)) if name == "inverse_root" else (x,)
    assert np.isnan(function(name, backend)(*args)).any()
    assert not np.isfinite(function(name, backend)(*args)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_identity_has_the_size_and_dtype_of_its_argument(backend: str) -> None:
    found = function("identity", backend)(np.full((3, 3), np.nan, np.float32))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.eye(3))
