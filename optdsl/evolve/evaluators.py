"""The rule by which a run chooses its evaluator: what an evaluation costs, measured."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from optdsl.backends.bytecode import UnsupportedProgram
from optdsl.evolve.config import RunConfig
from optdsl.evolve.engines import on_accelerator
from optdsl.evolve.judge import EVALUATORS
from optdsl.ir import Program
from optdsl.passes.protect import protect
from optdsl.tasks.evaluation import encoded
from optdsl.tasks.side_by_side import ROWS, SideBySideEvaluator
from optdsl.tasks.task import Task

QUICK = 0.25
"""Seconds: no program is traced and compiled in less, so bytecode that trains faster has won."""


@dataclass(frozen=True)
class Choice:
    """An evaluator, and why."""

    evaluator: str
    reason: str


def choose_evaluator(task: Task, program: Program, config: RunConfig) -> Choice:
    """The cheaper evaluator for a new program of this task.

    Measured on the initial program: the register machine costs one training run for each seed, the
    jitted lowering also tracing and compiling. Few programs get more seeds than the first rung's,
    so these count; on an accelerator, what one of many programs side by side costs.
    """
    executed = protect(program) if config.protected else program
    seeds = config.seeds[0]
    machine = _seconds_of_bytecode(task, executed, config.learning_rate) * seeds
    if machine < QUICK:
        return Choice("bytecode", f"bytecode evaluator: {machine * 1e3:.0f} ms for a new program")
    compiled = partial(EVALUATORS["jit"](task, config.learning_rate)(executed), (0,))
    with_compilation, alone = _seconds(compiled), _seconds(compiled)
    jitted = with_compilation + (seeds - 1) * alone
    best = "bytecode" if machine <= jitted else "jit"
    return Choice(
        best,
        f"{best} evaluator: for a new program, bytecode takes {machine:.2f} s, and jit"
        f" {jitted:.2f} s, of which {max(with_compilation - alone, 0):.2f} s compile",
    )


def _seconds_of_bytecode(task: Task, program: Program, learning_rate: float) -> float:
    if on_accelerator():
        with suppress(UnsupportedProgram):
            evaluator = SideBySideEvaluator(task, (0,))
            many = partial(evaluator.train, [encoded(program)] * ROWS, [(0,)] * ROWS, learning_rate)
            many()  # compiles what is compiled once
            return _seconds(many) / ROWS
    run = partial(EVALUATORS["bytecode"](task, learning_rate)(program), (0,))
    run()
    return _seconds(run)


def _seconds(run: Callable[[], object]) -> float:
    began = perf_counter()
    run()
    return perf_counter() - began
