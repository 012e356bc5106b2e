"""What programs do on one stream of weights and gradients, and how alike two of them are.

The stream is that of training on a noisy, ill-conditioned quadratic: gradients have a signal that
changes slowly and noise, and sizes that differ by weight and by array. Every program sees the same
weights and gradients, whatever its own updates would have made of them; so updates can be compared
step by step over all of training, and a learning rate that is another one only scales them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from optdsl.backends.reference import reference_step
from optdsl.ir import Program

STEPS = 40
"""Long enough for averages over a hundred steps to differ from those over a thousand."""

SHAPES = ((4, 3), (5,), (2, 6))

SCALES = (1.0, 0.1, 3.0)
"""The sizes of each array's gradients."""

RATE = 0.01
"""About the learning rate; it falls along training."""

Updates = np.ndarray
"""float64 (STEPS, weights): a program's updates."""


@dataclass(frozen=True)
class Stream:
    """For each step what a program gets."""

    weights: list[list[Any]]
    gradients: list[list[Any]]
    rates: list[float]


@cache
def stream() -> Stream:
    """The stream: always the same."""
    # RandomState's streams never change (NumPy's policy).
    random = np.random.RandomState(20230214)
    weights = [random.standard_normal(shape) for shape in SHAPES]
    curvatures = [10.0 ** random.uniform(-1, 1, shape) for shape in SHAPES]
    found = Stream([], [], [RATE * (1 - 0.8 * t / STEPS) for t in range(STEPS)])
    for _ in range(STEPS):
        slopes = [c * w for c, w in zip(curvatures, weights, strict=True)]
        noisy = [slope + 0.5 * random.standard_normal(slope.shape) for slope in slopes]
        found.weights.append(weights)
        found.gradients.append([s * g for s, g in zip(SCALES, noisy, strict=True)])
        weights = [w - 0.02 * g for w, g in zip(weights, noisy, strict=True)]
    return found


@np.errstate(all="ignore")
def updates(program: Program, values: Mapping[str, float] | None = None) -> Updates:
    """A program's updates on the stream; not finite where its functions are not.

    Args:
        program: any valid program.
        values: hyperparameters that are not at their defaults.
    """
    given, state, rows = stream(), None, list[np.ndarray]()
    steps = zip(given.weights, given.gradients, given.rates, strict=True)
    for number, (weights, gradients, rate) in enumerate(steps, start=1):
        step = reference_step(program, weights, gradients, state, rate, number, values)
        state = step.state
        rows.append(np.concatenate([np.ravel(block) for block in step.update]))
    return np.array(rows)


def distance(of: Updates, to: Updates) -> tuple[float, float]:
    """How much of some updates others leave unexplained, each scaled by one learning rate.

    That is |u - c v| / |u| with the best c > 0: the sine of the angle between all updates of one
    program and all of the other.

    Returns:
        The distance, from 0 to 1, and c; 1 and 0 where they have nothing in common, or numbers that
        are not finite in different places.
    """
    finite = np.isfinite(of)
    if not np.array_equal(finite, np.isfinite(to)):
        return 1.0, 0.0
    u, v = of[finite], to[finite]
    # Scaled first, so that squares neither overflow nor vanish.
    size, other = np.max(np.abs(u), initial=0.0), np.max(np.abs(v), initial=0.0)
    if size == 0.0 or other == 0.0:
        return float(size != other), 0.0
    u, v = u / size, v / other
    factor = float(u @ v / (v @ v))
    if factor <= 0.0:
        return 1.0, 0.0
    return float(np.linalg.norm(u - factor * v) / np.linalg.norm(u)), factor * size / other
