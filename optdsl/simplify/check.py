"""The numeric check of a step: two programs side by side on random gradients.

Both run in the NumPy reference from zero states, at several learning rates and sizes of weights and
gradients; what they return is compared number by number. Exact steps are compared bitwise in
float32. The others are compared in float64, where rounding is far below the tolerance, and only
where the first program's numbers are finite.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from optdsl.backends.reference import reference_step
from optdsl.ir import Program
from optdsl.passes.algebra import Level

SHAPES = ((3, 4), (4,))
"""The weight tree."""

STEPS = 5
"""Training steps of each run."""

RUNS = ((1.0, 0.01), (0.05, 1.0), (4.0, 0.3))
"""The sizes of gradients and the learning rates."""

TOLERANCE = 1e-6
"""The greatest difference of a number, relative to its size or, if smaller, the largest's."""


def difference(
    before: Program, after: Program, level: Level, rate_factor: float = 1.0
) -> float | None:
    """The greatest relative difference between the updates of two programs.

    Args:
        before: the program as it was.
        after: what is to take its place.
        level: EXACT compares bits.
        rate_factor: the second program's learning rate, relative to the first's.

    Returns:
        0 where all is equal; infinity where the second is not finite and the first is; None where
        the first is never finite, so that there is nothing to compare.
    """
    dtype = "float32" if level is Level.EXACT else "float64"
    worst: float | None = None
    for seed, (size, rate) in enumerate(RUNS):
        first = _run(before, dtype, seed, size, rate)
        second = _run(after, dtype, seed, size, rate * rate_factor)
        for one, other in zip(first, second, strict=True):
            if level is Level.EXACT and not np.array_equal(one, other, equal_nan=True):
                return np.inf
            finite = np.isfinite(one)
            if not finite.any():
                continue
            if not np.isfinite(other[finite]).all():
                return np.inf
            gap = np.abs(one[finite] - other[finite])
            scale = np.maximum(np.abs(one[finite]), 1e-3 * np.abs(one[finite]).max())
            with np.errstate(divide="ignore"):
                relative = np.divide(gap, scale, out=np.zeros_like(gap), where=gap > 0.0)
            worst = max(worst or 0.0, float(relative.max()))
    return worst


def passes(gap: float | None, level: Level) -> bool:
    """Whether a `difference` is small enough for a step of that level."""
    if level is Level.EXACT:
        return not gap
    return gap is not None and gap <= TOLERANCE


def _run(program: Program, dtype: str, seed: int, size: float, rate: float) -> list[Any]:
    """The updates of some steps with weights of their own, each as one vector."""
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    state: Mapping[str, Any] | None = None
    updates: list[Any] = []
    for step in range(1, STEPS + 1):
        gradients = [size * rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
        for block in gradients:
            block.flat[0] = 0.0  # as weights have that no example touches
        outcome = reference_step(program, weights, gradients, state, rate, step)
        state = outcome.state
        updates.append(np.concatenate([block.ravel() for block in outcome.update]))
        weights = [rng.standard_normal(shape).astype(dtype) for shape in SHAPES]
    return updates
