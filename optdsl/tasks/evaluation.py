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

from optdsl.backends.bytecode import MACHINES, WEIGHTS, Machine, UnsupportedProgram, encode
from optdsl.backends.jax_lowering import apply_program, first_state
from optdsl.backends.register_machine import (
    Inputs,
    Layout,
    initial_registers,
    initial_side_by_side,
    instructions,
    program_arrays,
    run_program,
    run_side_by_side,
    stacked_arrays,
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
        data = [seed_data(task, seed) for seed in self.seeds]
        leaves = jax.tree.leaves(data[0].weights)
        if any(leaf.dtype != jnp.float32 for leaf in leaves):
            raise UnsupportedProgram("the task's weights are not all float32")
        self._run, self._run_many = _training_loop(task, False), _training_loop(task, True)
        self._weights = jnp.stack([ravel_pytree(one.weights)[0] for one in data])
        self._plan = jax.tree.map(lambda *xs: jnp.stack(xs), *(one.plan for one in data))

    def evaluate(self, program: Program, learning_rate: float = 1.0) -> Scores:
        """Train once for each seed.

        Args:
            program: any valid program; hyperparameters take their defaults.
            learning_rate: the peak of the task's schedule.

        Raises:
            UnsupportedProgram: if the register machine can't run it.
        """
        machine, bytecode = encode(prepare(program, default_values(program)))
        rate = np.float32(learning_rate)
        run = self._run(machine, self._weights, self._plan, program_arrays(bytecode), rate)
        validation, test = (tuple(map(as_score, np.asarray(part))) for part in run)
        return Scores(validation, test)

    def evaluate_side_by_side(
        self, programs: Sequence[Program], learning_rate: float = 1.0
    ) -> list[Scores]:
        """The same of many programs, as many in one call as memory allows: for accelerators.

        Their number is not compiled in: every call is of `width` programs, the last one's repeated.

        Raises:
            UnsupportedProgram: if the register machine can't run one of them.
        """
        encoded = [encode(prepare(one, default_values(one))) for one in programs]
        found: dict[int, Scores] = {}
        for machine in MACHINES:
            mine = [i for i, (its, _) in enumerate(encoded) if its == machine]
            width = self.width(machine)
            for begin in range(0, len(mine), width):
                chunk = mine[begin : begin + width]
                padded = chunk + chunk[-1:] * (width - len(chunk))
                arrays = stacked_arrays([encoded[i][1] for i in padded])
                rate = np.float32(learning_rate)
                run = self._run_many(machine, self._weights, self._plan, arrays, rate)
                validation, test = (np.asarray(part) for part in run)
                for row, i in enumerate(chunk):
                    found[i] = Scores(
                        tuple(map(as_score, validation[row])), tuple(map(as_score, test[row]))
                    )
        return [found[i] for i in range(len(programs))]

    def machine(self, program: Program) -> Machine:
        """What it would run on.

        Raises:
            UnsupportedProgram: if the register machine can't run it.
        """
        return encode(prepare(program, default_values(program)))[0]

    def width(self, machine: Machine) -> int:
        """How many programs fit side by side into `SIDE_BY_SIDE_BYTES` of registers."""
        bytes_each = 4 * machine.registers * self._weights.size
        return max(1, min(SIDE_BY_SIDE, SIDE_BY_SIDE_BYTES // max(bytes_each, 1)))


SIDE_BY_SIDE = 64
"""So many programs at most are trained in one call."""

SIDE_BY_SIDE_BYTES = 4 << 30
"""What their registers may take."""


@cache
def _training_loop(task: Task, side_by_side: bool) -> Any:
    """The loop for a task, shared by all evaluators of a process: compiled for each machine and
    number of seeds, and of programs side by side."""
    weights = jax.eval_shape(task.init, jax.random.key(0))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), weights)
    layout = Layout.of([leaf.shape for leaf in jax.tree.leaves(weights)])
    unravel = ravel_pytree(zeros)[1]
    loop = partial(_run_bytecode, task, layout, unravel, side_by_side)
    return jax.jit(loop, static_argnums=0)


def _run_bytecode(
    task: Task,
    layout: Layout,
    unravel: Any,
    side_by_side: bool,
    machine: Machine,
    weights: jax.Array,
    plan: Any,
    program: dict[str, jax.Array],
    learning_rate: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The validation and test scores of all seeds, (seeds,) or (programs, seeds) each; NaN for a
    diverged one."""
    table = instructions(layout)
    start, run = initial_registers, run_program
    if side_by_side:
        start, run = initial_side_by_side, run_side_by_side

    def for_each(function: Any, *others: int | None) -> Any:
        """Over seeds, or over programs and seeds; the others have no axis of programs."""
        over_seeds = jax.vmap(function)
        if not side_by_side:
            return over_seeds
        return jax.vmap(over_seeds, in_axes=(0, *others))

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
            for_each(gradient, None),
            lambda weights, _: weights,
            registers[WEIGHTS],
            step_plan,
        )
        inputs = Inputs(learning_rate * task.schedule(t), (t + 1).astype(jnp.float32))
        registers = run(table, registers, program, gradients, inputs)
        return t + 1, alive & in_range(registers), registers

    def in_range(registers: jax.Array) -> jax.Array:
        return jnp.all(jnp.abs(registers[WEIGHTS]) < task.explode, axis=-1)

    def goes_on(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        t, alive, _ = carry
        return (t < task.steps) & jnp.any(alive)

    registers = start(machine, program, weights)
    first = (jnp.int32(0), in_range(registers), registers)
    _, alive, registers = lax.while_loop(goes_on, train_step, first)

    def score(part: str) -> jax.Array:
        scores = for_each(lambda row: task.score(unravel(row), part))(registers[WEIGHTS])
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
