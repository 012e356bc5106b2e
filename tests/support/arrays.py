"""Comparing arrays: bitwise, and in units in the last place."""

from typing import Any

import ml_dtypes
import numpy as np

ULPS = {"float32": 8, "bfloat16": 2, "float16": 2, "float64": 10}
"""By how much a function's result by JAX may differ from the reference's."""

BITS = {2: np.dtype(np.int16), 4: np.dtype(np.int32), 8: np.dtype(np.int64)}


def same_bits(a: Any, b: Any) -> bool:
    """Whether two arrays are equal bit for bit, NaN payloads aside."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    bits = BITS[a.dtype.itemsize]
    equal = np.atleast_1d(a).view(bits) == np.atleast_1d(b).view(bits)
    return bool(np.all(equal | np.atleast_1d((a != a) & (b != b))))


def ulps(a: Any, b: Any) -> Any:
    """How many representable numbers lie between two arrays of one dtype, element by element.

    Infinity where exactly one is NaN, or one is an infinity that the other is not next to.
    """
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype, (a.dtype, b.dtype)
    distance = np.abs(_ordered(a) - _ordered(b)).astype(np.float64)
    is_nan = np.isnan(a.astype(np.float64)), np.isnan(b.astype(np.float64))
    distance = np.where(is_nan[0] & is_nan[1], 0.0, distance)
    return np.where(is_nan[0] ^ is_nan[1], np.inf, distance)


def _ordered(x: Any) -> Any:
    """Floats as numbers whose differences count the floats between (both zeros are 0)."""
    wide = object if x.dtype.itemsize == 8 else np.int64  # Python's integers don't overflow
    bits = np.atleast_1d(x).view(BITS[x.dtype.itemsize]).astype(wide)
    lowest = -(2 ** (8 * x.dtype.itemsize - 1))
    return np.where(bits < 0, lowest - bits, bits).reshape(x.shape)


def flush(x: Any) -> Any:
    """Numbers below the smallest normal one become zero, as on XLA's CPU and TPU."""
    x = np.asarray(x)
    tiny = ml_dtypes.finfo(x.dtype).tiny
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(x) < tiny, np.copysign(np.zeros_like(x), x), x)
