"""The rule by which a run chooses its evaluator: what an evaluation costs, measured."""

from dataclasses import dataclass
from time import perf_counter

from optdsl.evolve.config import RunConfig
from optdsl.evolve.judge import EVALUATORS, Run
from optdsl.ir import Program
from optdsl.passes.protect import protect
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
    so these count.
    """
    executed = protect(program) if config.protected else program
    seeds = config.seeds[0]
    first = EVALUATORS["bytecode"](task, config.learning_rate)(executed)
    first((0,))  # compiles what is compiled once
    machine = _seconds(first) * seeds
    if machine < QUICK:
        return Choice("bytecode", f"bytecode evaluator: {machine * 1e3:.0f} ms for a new program")
    compiled = EVALUATORS["jit"](task, config.learning_rate)(executed)
    with_compilation, alone = _seconds(compiled), _seconds(compiled)
    jitted = with_compilation + (seeds - 1) * alone
    best = "bytecode" if machine <= jitted else "jit"
    return Choice(
        best,
        f"{best} evaluator: for a new program, bytecode takes {machine:.2f} s, and jit"
        f" {jitted:.2f} s, of which {max(with_compilation - alone, 0):.2f} s compile",
    )


def _seconds(run: Run) -> float:
    began = perf_counter()
    run((0,))
    return perf_counter() - began
