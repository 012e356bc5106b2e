"""Training a task with a program: a pure function of (program, task, seed).

Two evaluators of one meaning: `BytecodeEvaluator` compiles once for a task and takes programs as
data; `evaluate_jitted` compiles the program into the training loop and takes any program.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree

from optdsl.backends.bytecode import WEIGHTS, Bytecode, Machine, UnsupportedProgram, encode
from optdsl.backends.jax_lowering import apply_program, first_state
from optdsl.backends.register_machine import (
    Inputs,
    Layout,
    initial_registers,
    instructions,
    program_arrays,
    run_program,
)
from optdsl.ir import Program, Role
from optdsl.passes.fold import default_values
from optdsl.passes.live import live_values
from optdsl.passes.pipeline import prepare
from optdsl.tasks.scores import Scores, as_score
from optdsl.tasks.task import TEST, VALIDATION, Task


class SeedData(NamedTuple):
    """What a seed determines: the initial weights and the plan of the batches."""

    weights: Any
    plan: Any


def seed_data(task: Task, seed: int) -> SeedData:
    """Initial weights and plan of one run."""
    init_key, plan_key = jax.random.split(jax.random.key(seed))
    return SeedData(task.init(init_key), task.plan(plan_key))


Code = tuple[Machine, Bytecode]
"""A program for the register machine, and the first machine that holds it."""


def stacked_seeds(task: Task, seeds: Sequence[int]) -> SeedData:
    """The weights of all seeds as rows, (seeds, width), and their plans, stacked too.

    Raises:
        UnsupportedProgram: if the task's weights are not float32, which registers are.
    """
    data = [seed_data(task, seed) for seed in seeds]
    leaves = jax.tree.leaves(data[0].weights)
    if any(leaf.dtype != jnp.float32 for leaf in leaves):
        raise UnsupportedProgram("the task's weights are not all float32")
    rows = jnp.stack([ravel_pytree(one.weights)[0] for one in data])
    return SeedData(rows, jax.tree.map(lambda *xs: jnp.stack(xs), *(one.plan for one in data)))


class BytecodeEvaluator:
    """Judges programs on one task and one set of seeds, without compiling any of them."""

    def __init__(self, task: Task, seeds: Sequence[int]) -> None:
        """Prepare the task; a machine is compiled at the first program that needs it.

        Args:
            task: what to train.
            seeds: one run each, all side by side.

        Raises:
            UnsupportedProgram: if the task's weights are not float32.
        """
        self.task = task
        self.seeds = tuple(seeds)
        self._run = _training_loop(task)
        self._weights, self._plan = stacked_seeds(task, self.seeds)

    def evaluate(self, program: Program, learning_rate: float = 1.0) -> Scores:
        """Train once for each seed.

        Args:
            program: any valid program; hyperparameters take their defaults.
            learning_rate: the peak of the task's schedule.

        Raises:
            UnsupportedProgram: if the register machine can't run it.
        """
        return self.train(encoded(program), learning_rate)

    def train(self, code: Code, learning_rate: float = 1.0) -> Scores:
        """The same of a program that is encoded already."""
        machine, bytecode = code
        rate = np.float32(learning_rate)
        run = self._run(machine, self._weights, self._plan, program_arrays(bytecode), rate)
        validation, test = (tuple(map(as_score, np.asarray(part))) for part in run)
        return Scores(validation, test)


def encoded(program: Program) -> Code:
    """A program for the register machine, with its hyperparameters' defaults.

    Raises:
        UnsupportedProgram: if the machine can't run it.
    """
    return encode(prepare(program, default_values(program)))


@cache
def _training_loop(task: Task) -> Any:
    """The loop for a task, shared by all evaluators of a process: compiled for each machine and
    number of seeds."""
    layout, unravel = row_layout(task)
    return jax.jit(partial(_run_bytecode, task, layout, unravel), static_argnums=0)


def row_layout(task: Task) -> tuple[Layout, Callable[[jax.Array], Any]]:
    """How the task's weights lie in a row, and what makes the tree of a row."""
    weights = jax.eval_shape(task.init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), weights)
    layout = Layout.of([leaf.shape for leaf in jax.tree.leaves(weights)])
    return layout, ravel_pytree(zeros)[1]


def _run_bytecode(
    task: Task,
    layout: Layout,
    unravel: Callable[[jax.Array], Any],
    machine: Machine,
    weights: jax.Array,
    plan: Any,
    program: dict[str, jax.Array],
    learning_rate: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The validation and test scores of all seeds, (seeds,) each; NaN for a diverged one."""
    table = instructions(layout)

    def gradient(row: jax.Array, step_plan: Any) -> jax.Array:
        return jax.grad(lambda flat: task.loss(unravel(flat), step_plan))(row)

    def train_step(
        carry: tuple[jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        t, alive, registers = carry
        step_plan = jax.tree.map(lambda leaf: leaf[:, t], plan)
        # A boundary that XLA can't see through: fused with the writes to the registers, the
        # gradient's last operations are recomputed for each (see docs/decisions.md).
        gradients = lax.cond(
            program["length"] >= 0,
            jax.vmap(gradient),
            lambda weights, _: weights,
            registers[WEIGHTS],
            step_plan,
        )
        inputs = Inputs(learning_rate * task.schedule(t), (t + 1).astype(jnp.float32))
        registers = run_program(table, registers, program, gradients, inputs)
        return t + 1, alive & row_in_range(task, registers[WEIGHTS]), registers

    def goes_on(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        t, alive, _ = carry
        return (t < task.steps) & jnp.any(alive)

    registers = initial_registers(machine, program, weights)
    first = (jnp.int32(0), row_in_range(task, weights), registers)
    _, alive, registers = lax.while_loop(goes_on, train_step, first)
    return rows_scored(task, unravel, registers[WEIGHTS], alive)


def row_in_range(task: Task, rows: jax.Array) -> jax.Array:
    """As `in_range`, of rows: (..., width) to (...)."""
    return jnp.all(jnp.abs(rows) < task.explode, axis=-1)


def rows_scored(
    task: Task, unravel: Callable[[jax.Array], Any], rows: jax.Array, alive: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The validation and test scores of trained rows; NaN where a row is not alive."""

    def score(part: str) -> jax.Array:
        scores = jax.vmap(lambda row: task.score(unravel(row), part))(rows)
        return jnp.where(alive, scores, jnp.nan)

    return score(VALIDATION), score(TEST)


def evaluate_jitted(
    task: Task,
    program: Program,
    seeds: Sequence[int],
    learning_rate: float = 1.0,
    hyperparameters: Mapping[str, float] | None = None,
) -> Scores:
    """Train once for each seed, with the program compiled into the loop.

    Args:
        task: what to train.
        program: any valid program.
        seeds: one run each.
        learning_rate: the peak of the task's schedule.
        hyperparameters: values other than the defaults, by name.
    """
    run = compiled_program(task, program, learning_rate, hyperparameters)
    validation, test = zip(*map(run, seeds), strict=True)
    return Scores(validation, test)


def compiled_program(
    task: Task,
    program: Program,
    learning_rate: float = 1.0,
    hyperparameters: Mapping[str, float] | None = None,
) -> Callable[[int], tuple[float, float]]:
    """From a seed to the validation and test score; compiled at the first call."""
    prepared = prepare(program, default_values(program) | dict(hyperparameters or {}))
    run = jax.jit(partial(run_jitted, task, prepared))
    rate = np.float32(learning_rate)

    def scores(seed: int) -> tuple[float, float]:
        validation, test = run(*seed_data(task, seed), rate)
        return as_score(validation), as_score(test)

    return scores


def run_jitted(
    task: Task, program: Program, weights: Any, plan: Any, learning_rate: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """One seed's validation and test score; NaN if it diverged."""
    start = first_carry(program, weights)
    step = jitted_step(task, program, weights, plan, learning_rate, {})

    def goes_on(carry: Carry) -> jax.Array:
        return (carry.step < task.steps) & in_range(task, carry.leaves)

    leaves = lax.while_loop(goes_on, step, start).leaves
    final = jax.tree.unflatten(jax.tree.structure(weights), leaves)
    finite = in_range(task, leaves)
    return (
        jnp.where(finite, task.score(final, VALIDATION), jnp.nan),
        jnp.where(finite, task.score(final, TEST), jnp.nan),
    )


class Carry(NamedTuple):
    """What goes from one step of a jitted training loop to the next."""

    step: jax.Array
    """How many steps were made."""
    leaves: list[Any]
    """The weights' leaves."""
    state: dict[str, Any]


def first_carry(program: Program, weights: Any) -> Carry:
    """What a jitted training loop starts with."""
    leaves = jax.tree.leaves(weights)
    return Carry(jnp.int32(0), leaves, first_state(program, leaves))


def jitted_step(
    task: Task,
    program: Program,
    weights: Any,
    plan: Any,
    learning_rate: jax.Array,
    hyperparameters: Mapping[str, Any],
) -> Callable[[Carry], Carry]:
    """One training step with the program compiled into it.

    Args:
        task: what to train.
        program: as `prepare` gives it.
        weights: a tree of the weights' structure.
        plan: the seed's.
        learning_rate: the peak of the task's schedule.
        hyperparameters: a number or a scalar array for each that the program still has.
    """
    structure = jax.tree.structure(weights)

    def step(carry: Carry) -> Carry:
        t, leaves, state = carry
        step_plan = jax.tree.map(lambda leaf: leaf[t], plan)
        gradients = jax.grad(task.loss)(jax.tree.unflatten(structure, leaves), step_plan)
        rate = learning_rate * task.schedule(t)
        update, state = apply_program(
            program, leaves, jax.tree.leaves(gradients), state, rate, t + 1, hyperparameters
        )
        return Carry(t + 1, [w - u for w, u in zip(leaves, update, strict=True)], state)

    return step


def in_range(task: Task, leaves: list[Any]) -> jax.Array:
    """Whether a run has not diverged: all of its weights are finite and not too large."""
    return jnp.all(jnp.array([jnp.all(jnp.abs(leaf) < task.explode) for leaf in leaves]))


def default_learning_rate(program: Program, task: Task) -> float:
    """The peak learning rate where the user gives none.

    1 for a program that multiplies `lr` by a constant of its own, as the paper's programs do
    (`lr = lr * 0.001`), else the task's. A sign, as in `-lr`, is no such constant.
    """
    live = live_values(program)
    rates = set(program.with_role(Role.LEARNING_RATE))
    for value, (op, args, _) in enumerate(program.operations, start=len(program.inputs)):
        if op.name != "*" or not live[value] or not rates & set(args) or min(args) >= 0:
            continue
        if abs(program.constants[~min(args)]) != 1.0:
            return 1.0
        rates.add(value)
    return task.learning_rate
