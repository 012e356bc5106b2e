"""The constants with which a known optimizer comes nearest to some updates.

A pattern search (Hooke & Jeeves, 1961) over the hyperparameters: each is moved up and down by a
step, the best move is taken, and the step is halved where none helps. They are moved by factors,
those near to 1, as of averages, by factors of their distance from 1. All moves of a round run side
by side in one compiled function.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from optdsl.backends.jax_lowering import apply_program, first_state
from optdsl.comparison.stream import Updates, distance, stream, updates
from optdsl.ir import Program
from optdsl.passes.fold import default_values
from optdsl.passes.live import live_values
from optdsl.passes.pipeline import prepare

Setting: TypeAlias = dict[str, float]
"""Hyperparameters by name."""

FIRST_STEP, LAST_STEP = 1.0, 1e-3
"""In powers of ten."""

GAIN = 1e-3
"""A move must make the distance smaller by this share."""

WORTH = 0.02
"""A constant keeps its default, or is rounded, if the distance is less than this share greater
then."""

EXACT = 1e-5
"""Distances of single precision that mean nothing."""

SMALLEST = 1e-3
"""Where the search begins for a hyperparameter that is 0."""


@dataclass(frozen=True)
class Fit:
    """How near a known optimizer comes, and how."""

    distance: float
    factor: float
    """Its learning rate is the program's times this."""
    constants: dict[str, float]
    """Hyperparameters that had to change."""


def fit(target: Updates, known: Program) -> Fit:
    """Fit a known optimizer's hyperparameters to another program's updates on the stream."""
    start = _tunable(known)
    gaps = _gaps(target, known, tuple(start))
    values, (best,) = start, gaps([start])
    step = FIRST_STEP
    while start and step >= LAST_STEP and best > EXACT:
        moves = [values | {n: moved(values[n], size)} for n in start for size in (-step, step)]
        found = gaps(moves)
        if min(found) < best * (1 - GAIN):
            best = min(found)
            values = moves[found.index(best)]
        else:
            step /= 2
    for name, default in start.items():
        for plain in (default, rounded(values[name])):
            plainer = values | {name: plain}
            if gaps([plainer])[0] <= best * (1 + WORTH) + EXACT:
                values = plainer
                break
    constants = {name: value for name, value in values.items() if value != start[name]}
    gap, factor = distance(target, updates(known, constants))
    return Fit(gap, factor, constants)


def moved(value: float, size: float) -> float:
    """A hyperparameter moved by so many powers of ten."""
    if value == 0.0:
        return SMALLEST * 10**size
    if 0.5 <= value < 1.0:
        return max(1 - (1 - value) * 10**-size, 0.0)
    return value * 10**size


def rounded(value: float) -> float:
    """To three digits; what is near to 1, to three of its distance from 1."""
    return 1 - float(f"{1 - value:.3g}") if 0.5 <= value < 1.0 else float(f"{value:.3g}")


def _tunable(program: Program) -> dict[str, float]:
    """The hyperparameters that the update needs, at their defaults."""
    live = live_values(program)
    return {
        entry.name: entry.default
        for value, entry in enumerate(program.inputs)
        if entry.default is not None and entry.default >= 0 and live[value]
    }


def _gaps(
    target: Updates, known: Program, names: tuple[str, ...]
) -> Callable[[list[Setting]], list[float]]:
    """From settings of the hyperparameters, at most two for each, to the distances."""
    defaults = default_values(known)
    prepared = prepare(known, {name: v for name, v in defaults.items() if name not in names})
    given = stream()
    steps = {
        "weights": [jnp.array(blocks, jnp.float32) for blocks in zip(*given.weights, strict=True)],
        "gradients": [
            jnp.array(blocks, jnp.float32) for blocks in zip(*given.gradients, strict=True)
        ],
        "rate": jnp.array(given.rates, jnp.float32),
        "number": jnp.arange(1, len(given.rates) + 1, dtype=jnp.float32),
    }

    @jax.jit
    @jax.vmap
    def run(values: jax.Array) -> jax.Array:
        """The updates, (steps, weights), with the hyperparameters' values, (names,)."""
        setting = dict(zip(names, values, strict=True))

        def advance(state: Any, step: Any) -> tuple[Any, jax.Array]:
            update, state = apply_program(
                prepared,
                step["weights"],
                step["gradients"],
                state,
                step["rate"],
                step["number"],
                setting,
            )
            return state, jnp.concatenate([jnp.ravel(block) for block in update])

        start = first_state(prepared, [blocks[0] for blocks in steps["weights"]])
        return lax.scan(advance, start, steps)[1]

    def gaps(settings: list[Setting]) -> list[float]:
        rows = [[setting[name] for name in names] for setting in settings]
        # As many each time, so that nothing is compiled twice.
        padded = rows + [rows[0]] * (max(2 * len(names), 1) - len(rows))
        found = np.asarray(run(jnp.array(padded, jnp.float32)), np.float64)
        return [distance(target, one)[0] for one in found[: len(rows)]]

    return gaps
