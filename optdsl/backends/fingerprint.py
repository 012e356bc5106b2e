"""The behavioural hash: what a program does, on fixed inputs, over some steps."""

from functools import cache
from typing import Any

import numpy as np

from optdsl.backends.reference import reference_step
from optdsl.ir import Program
from optdsl.passes.hashing import combine

STEPS = 12
"""Programs that first differ at a later step are not told apart."""

DIGITS = 5
"""Decimal digits that count."""

SHAPES = ((), (3,), (4, 3))

SCALE = 0.01
"""About the learning rate given: small, so that updates do not blow up at once. It is another one
at each step, since a program that needs it is not one with a constant in its place."""


@cache
def _inputs() -> tuple[list[Any], list[list[Any]]]:
    """Fixed weights, and gradients for each step; float64, so that rounding hardly shows."""
    # RandomState's streams never change (NumPy's policy), so neither do the hashes.
    random = np.random.RandomState(20230213)
    draw = [[random.standard_normal(shape) for shape in SHAPES] for _ in range(1 + STEPS)]
    return draw[0], [[0.5 * gradient for gradient in step] for step in draw[1:]]


@cache
def _learning_rates() -> list[float]:
    """Fixed learning rates for each step, from a half to one and a half of SCALE."""
    random = np.random.RandomState(20230214)
    return [float(rate) for rate in SCALE * random.uniform(0.5, 1.5, STEPS)]


def behavioural_hash(program: Program) -> str:
    """The digest of a program's updates over STEPS steps, rounded to DIGITS digits."""
    weights, gradients = _inputs()
    state, parts = None, list[bytes]()
    with np.errstate(all="ignore"):
        steps = zip(gradients, _learning_rates(), strict=True)
        for number, (gradient, lr) in enumerate(steps, start=1):
            step = reference_step(program, weights, gradient, state, lr, number)
            state = step.state
            weights = [w - update for w, update in zip(weights, step.update, strict=True)]
            parts += [_rounded(update) for update in step.update]
    return combine(b"behaviour", *parts).hex()


def _rounded(values: Any) -> bytes:
    numbers = np.asarray(values, np.float64).ravel() + 0.0
    return ",".join("nan" if np.isnan(x) else f"{x:.{DIGITS - 1}e}" for x in numbers).encode()
