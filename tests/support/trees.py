"""Generated weight trees: leaves of 0 to 4 dimensions, of mixed dtypes; the empty tree too."""

from typing import Any

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from optdsl.backends.reference import DTYPES
from optdsl.passes.shapes import Leaf

HALF_AND_SINGLE = ("float32", "bfloat16", "float16")
SPECIAL = (0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-3, 1e15, -1e-20, 3e38)


def shapes(max_dims: int = 4, max_side: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of weight arrays."""
    return st.lists(st.integers(1, max_side), max_size=max_dims).map(tuple)


def leaves(
    dtypes: tuple[str, ...] = HALF_AND_SINGLE, min_size: int = 0, max_size: int = 4
) -> st.SearchStrategy[list[Leaf]]:
    """Leaves of a weight tree."""
    leaf = st.builds(Leaf, shapes(), st.sampled_from(dtypes))
    return st.lists(leaf, min_size=min_size, max_size=max_size)


def filled(leaves: list[Leaf], seed: int, special: float = 0.0) -> list[Any]:
    """Arrays for leaves: normal numbers, and a share of special ones (NaN, infinities, zeros)."""
    random = np.random.RandomState(seed)
    arrays: list[Any] = []
    for leaf in leaves:
        values = random.standard_normal(leaf.shape)
        replaced = random.uniform(size=leaf.shape) < special
        values = np.where(replaced, random.choice(SPECIAL, leaf.shape), values)
        with np.errstate(over="ignore"):
            arrays.append(np.asarray(values, DTYPES[leaf.dtype]))
    return arrays


def nudged(arrays: list[Any], random: np.random.RandomState, ulps: float) -> list[Any]:
    """Every number changed by up to so many ulps, up or down."""
    changed: list[Any] = []
    for array in arrays:
        wide = np.asarray(array, np.float64)
        by = random.uniform(-ulps, ulps, wide.shape) * float(ml_dtypes.finfo(array.dtype).eps)
        with np.errstate(all="ignore"):
            changed.append((wide * (1 + by)).astype(array.dtype))
    return changed
