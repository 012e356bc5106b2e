"""Training many programs on a task in each call, for accelerators; one by one: `evaluation.py`.

What is trained is a row: a program with one seed. A call has the same number of rows whatever is
asked for, so that nothing is compiled twice, and no result depends on what else is trained with it.
One by one, the same trainings may be rounded otherwise.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from optdsl.backends.bytecode import MACHINES, WEIGHTS, Bytecode, Machine
from optdsl.backends.register_machine import (
    Inputs,
    initial_rows,
    run_rows,
    stacked_arrays,
)
from optdsl.tasks.evaluation import (
    Code,
    row_in_range,
    row_layout,
    rows_scored,
    stacked_seeds,
)
from optdsl.tasks.scores import Scores, as_score
from optdsl.tasks.task import Task

ROWS = 128
"""So many rows at most are trained in one call."""

REGISTER_BYTES = 4 << 30
"""What their registers may take."""


class SideBySideEvaluator:
    """Judges programs on one task and a set of seeds, without compiling any of them."""

    def __init__(self, task: Task, seeds: Sequence[int]) -> None:
        """Prepare the task; a machine is compiled at the first program that needs it.

        Args:
            task: what to train.
            seeds: all that programs may be trained on.

        Raises:
            UnsupportedProgram: if the task's weights are not float32.
            ValueError: if there is no seed.
        """
        if not seeds:
            raise ValueError("an evaluator needs a seed at least")
        self.task = task
        self._places = {seed: i for i, seed in enumerate(seeds)}
        self._weights, self._plan = stacked_seeds(task, seeds)
        self._run = _training_loop(task)

    def train(
        self,
        codes: Sequence[Code],
        seeds: Sequence[Sequence[int]],
        learning_rate: float = 1.0,
    ) -> list[Scores]:
        """Train each program once for each of its seeds.

        Args:
            codes: programs, from `encoded`.
            seeds: of each program, among the evaluator's.
            learning_rate: the peak of the task's schedule.

        Raises:
            ValueError: if a seed is not among the evaluator's, or a program has no list of them.
        """
        rows = [
            (i, seed) for i, (_, its) in enumerate(zip(codes, seeds, strict=True)) for seed in its
        ]
        if unknown := {seed for _, seed in rows} - self._places.keys():
            raise ValueError(f"not the evaluator's seeds: {sorted(unknown)}")
        found: dict[tuple[int, int], tuple[float, float]] = {}
        for machine in MACHINES:
            mine = [row for row in rows if codes[row[0]][0] == machine]
            width = self.rows(machine)
            for begin in range(0, len(mine), width):
                chunk = mine[begin : begin + width]
                places = [self._places[seed] for _, seed in chunk]
                bytecodes = [codes[i][1] for i, _ in chunk]
                scores = self._call(machine, bytecodes, places, learning_rate)
                found |= zip(chunk, scores, strict=True)
        return [
            Scores(
                tuple(found[i, seed][0] for seed in its), tuple(found[i, seed][1] for seed in its)
            )
            for i, its in enumerate(seeds)
        ]

    def rows(self, machine: Machine) -> int:
        """How many rows one call trains: fewer than `ROWS` where registers take too much memory."""
        bytes_each = 4 * machine.registers * self._weights.shape[-1]
        return max(1, min(ROWS, REGISTER_BYTES // max(bytes_each, 1)))

    def _call(
        self,
        machine: Machine,
        bytecodes: list[Bytecode],
        places: list[int],
        learning_rate: float,
    ) -> list[tuple[float, float]]:
        """The validation and test score of each row; what is missing to a call does nothing."""
        missing = self.rows(machine) - len(places)
        arrays = stacked_arrays([*bytecodes, *[bytecodes[-1]] * missing])
        arrays["length"][len(places) :] = 0
        seeds = np.array(places + [0] * missing, np.int32)
        rate = np.float32(learning_rate)
        validation, test = self._run(machine, self._weights, self._plan, arrays, seeds, rate)
        scores = zip(np.asarray(validation), np.asarray(test), strict=True)
        return [(as_score(v), as_score(t)) for v, t in scores][: len(places)]


@cache
def _training_loop(task: Task) -> Any:
    """The loop for a task, shared by all evaluators of a process: compiled for each machine and
    number of seeds."""
    loop = partial(_run_rows, task, rows_runner())
    return jax.jit(loop, static_argnums=0, compiler_options=UNTUNED if _on_gpu() else None)


UNTUNED = {"xla_gpu_autotune_level": 0}
"""Matrix products are not chosen by what they take here: another process would choose others, which
round otherwise, and the same search would find something else."""


def _on_gpu() -> bool:
    return jax.default_backend() == "gpu"


def rows_runner() -> Callable[..., jax.Array]:
    """What runs a step of all rows on this machine's device: see `register_machine.run_rows`."""
    if _on_gpu():
        try:
            from optdsl.backends.register_kernel import run_rows_by_kernel
        except ImportError:  # this JAX has no Pallas for Triton, or another
            return run_rows
        return run_rows_by_kernel
    return run_rows


def _run_rows(
    task: Task,
    run: Callable[..., jax.Array],
    machine: Machine,
    weights: jax.Array,
    plan: Any,
    programs: dict[str, jax.Array],
    seeds: jax.Array,
    learning_rate: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The validation and test scores of all rows, (rows,) each; NaN for a diverged one.

    Args:
        task: what to train.
        run: from `rows_runner`.
        machine: its sizes.
        weights: (seeds, width), to begin with.
        plan: its leaves are (seeds, steps, ...).
        programs: from `stacked_arrays`.
        seeds: (rows,), places in the first axis of weights and plan.
        learning_rate: the peak of the task's schedule.
    """
    layout, unravel = row_layout(task)

    def gradient(row: jax.Array, step_plan: Any) -> jax.Array:
        return jax.grad(lambda flat: task.loss(unravel(flat), step_plan))(row)

    def train_step(t: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        alive, registers = carry
        step_plan = jax.tree.map(lambda leaf: leaf[seeds, t], plan)
        gradients = jax.vmap(gradient)(registers[WEIGHTS], step_plan)
        inputs = Inputs(learning_rate * task.schedule(t), (t + 1).astype(jnp.float32))
        registers = run(layout, registers, programs, gradients, inputs)
        return alive & row_in_range(task, registers[WEIGHTS]), registers

    rows = weights[seeds]
    first = (row_in_range(task, rows), initial_rows(machine, programs, rows))
    # A loop of so many steps as are known before: the device need not ask after each.
    alive, registers = lax.fori_loop(0, task.steps, train_step, first)
    return rows_scored(task, unravel, registers[WEIGHTS], alive)
