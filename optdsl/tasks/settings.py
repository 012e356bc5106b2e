"""Many settings of one program, trained by one compiled loop.

The learning rate and the hyperparameters that vary are inputs of the loop, as is the number of
points of the learning curve, so that a sweep compiles once. A run is still one seed at one setting:
its scores are a function of program, task, setting and seed alone, and a setting that diverges
stops at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from optdsl.ir import Program
from optdsl.passes.fold import default_values
from optdsl.passes.pipeline import prepare
from optdsl.tasks.evaluation import Carry, first_carry, in_range, jitted_step, seed_data
from optdsl.tasks.scores import as_score
from optdsl.tasks.task import TEST, VALIDATION, Task

POINTS = 20
"""A learning curve has at most so many."""

_seed_data = lru_cache(maxsize=64)(seed_data)


@dataclass(frozen=True)
class Run:
    """One training run."""

    curve: tuple[float, ...]
    """Validation scores at `curve_steps`; FAILED from where it diverged."""
    test: float
    weights: Any = field(repr=False, compare=False)
    """The trained weights; those at which it stopped, if it diverged."""

    @property
    def validation(self) -> float:
        """The trained program's score on the validation part."""
        return self.curve[-1]


def curve_steps(task: Task, points: int = POINTS) -> tuple[int, ...]:
    """How many steps were made at each point of a curve of at most `points`; the last is all."""
    points = min(points, POINTS, task.steps)
    return tuple(-(-task.steps * (i + 1) // points) for i in range(points))


class SettingsTrainer:
    """Trains one program on one task at any setting."""

    def __init__(
        self,
        task: Task,
        program: Program,
        varied: tuple[str, ...] = (),
        fixed: Mapping[str, float] | None = None,
    ) -> None:
        """Nothing is compiled before the first run.

        Args:
            task: what to train.
            program: any valid program.
            varied: the hyperparameters that each run gives a value for.
            fixed: values of the others, where they are not the defaults.
        """
        values = default_values(program) | dict(fixed or {})
        bound = {name: value for name, value in values.items() if name not in varied}
        self.task = task
        self._varied = varied
        self._run = jax.jit(partial(_run, task, prepare(program, bound)))

    def run(
        self, seed: int, learning_rate: float, values: Mapping[str, float], points: int = 1
    ) -> Run:
        """Train once.

        Args:
            seed: of the initial weights and the plan.
            learning_rate: the peak of the task's schedule.
            values: of the hyperparameters that vary, by name.
            points: how many points the curve has, at most POINTS.
        """
        points = min(points, POINTS, self.task.steps)
        scalars = {name: np.float32(values[name]) for name in self._varied}
        curve, test, weights = self._run(
            *_seed_data(self.task, seed), np.float32(learning_rate), scalars, np.int32(points)
        )
        scores = tuple(map(as_score, np.asarray(curve)[:points]))
        return Run(scores, as_score(test), weights)


def _run(
    task: Task,
    program: Program,
    weights: Any,
    plan: Any,
    learning_rate: jax.Array,
    hyperparameters: Mapping[str, jax.Array],
    points: jax.Array,
) -> tuple[jax.Array, jax.Array, Any]:
    """The validation scores, (POINTS,), the test score, NaN where diverged; the final weights."""
    step = jitted_step(task, program, weights, plan, learning_rate, hyperparameters)
    structure = jax.tree.structure(weights)

    def score(leaves: list[Any], part: str) -> jax.Array:
        value = jnp.float32(task.score(jax.tree.unflatten(structure, leaves), part))
        return jnp.where(in_range(task, leaves), value, jnp.nan)

    def goes_on(carry: tuple[Carry, jax.Array]) -> jax.Array:
        return (carry[0].step < task.steps) & in_range(task, carry[0].leaves)

    def advance(carry: tuple[Carry, jax.Array]) -> tuple[Carry, jax.Array]:
        before, curve = carry
        now = step(before)
        passed, reached = before.step * points // task.steps, now.step * points // task.steps
        curve = lax.cond(
            reached > passed,
            lambda: curve.at[reached - 1].set(score(now.leaves, VALIDATION)),
            lambda: curve,
        )
        return now, curve

    start = first_carry(program, weights), jnp.full(POINTS, jnp.nan, jnp.float32)
    end, curve = lax.while_loop(goes_on, advance, start)
    return curve, score(end.leaves, TEST), jax.tree.unflatten(structure, end.leaves)
