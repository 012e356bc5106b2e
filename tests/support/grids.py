"""Ordinary and special numbers of a dtype, and argument lists made of them."""

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from optdsl.backends.reference import DTYPES

RANDOM = 400
"""How many random numbers of each distribution a grid has."""


@cache
def numbers(dtype: str) -> Any:
    """NaN, infinities, zeros, the ends of the range, and random numbers of all magnitudes."""
    about = ml_dtypes.finfo(DTYPES[dtype])
    largest, tiny, eps = float(about.max), float(about.tiny), float(about.eps)
    special = [0.0, np.inf, np.nan, largest, tiny, 1 - eps / 2, 1.0, 1 + eps, 0.1, 0.5, 2.0, 3.0]
    special += [np.pi / 2, np.pi, 10.0, largest**0.5, tiny**0.5, 1e-3, 1e3, 88.0, 0.999999]
    random = np.random.RandomState(0)
    low, high = np.log10(tiny), np.log10(largest)
    positive = np.concatenate(
        [
            special,
            10 ** random.uniform(low, high, RANDOM),
            10 ** random.uniform(-3, 2, RANDOM),
            random.uniform(0, 1, RANDOM),
        ]
    )
    with np.errstate(over="ignore"):
        return np.concatenate([positive, -positive]).astype(DTYPES[dtype])


@cache
def special_numbers(dtype: str) -> Any:
    """A short list for grids of several arguments."""
    values = numbers(dtype)
    half = len(values) // 2
    return np.concatenate([values[:14], values[half : half + 14]])


@cache
def arguments(count: int, dtype: str) -> tuple[Any, ...]:
    """Arrays of one length: every pair of special numbers, then random tuples."""
    if count == 1:
        return (numbers(dtype),)
    random = np.random.RandomState(1)
    special = special_numbers(dtype)
    grid = [axis.ravel() for axis in np.meshgrid(special, special, indexing="ij")]
    grid += [random.permutation(grid[0]) for _ in range(count - 2)]
    drawn = [random.permutation(numbers(dtype)) for _ in range(count)]
    return tuple(np.concatenate(pair) for pair in zip(grid, drawn, strict=True))


@cache
def trees() -> dict[str, tuple[Any, ...]]:
    """Weight trees, as float64: what functions that add numbers up are tried on."""
    random = np.random.RandomState(2)
    shapes = ((3,), (), (2, 5), (2, 3, 4))
    normal = tuple(random.standard_normal(shape) for shape in shapes)

    def put(value: float) -> tuple[Any, ...]:
        changed = [leaf.copy() for leaf in normal]
        changed[2][1, 3] = value
        return tuple(changed)

    return {
        "normal": normal,
        "positive": tuple(np.abs(leaf) for leaf in normal),
        "large": tuple(1e15 * leaf for leaf in normal),
        "overflowing": tuple(1e30 * leaf for leaf in normal),
        "small": tuple(1e-12 * leaf for leaf in normal),
        "zeros": tuple(np.zeros(shape) for shape in shapes),
        "negative zeros": tuple(-np.zeros(shape) for shape in shapes),
        "NaN": put(np.nan),
        "infinity": put(np.inf),
        "negative infinity": put(-np.inf),
        "one": (np.array([2.0]),),
        "none": (),
    }
