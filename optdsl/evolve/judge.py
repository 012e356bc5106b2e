"""What happens in a worker: a program is trained, seed by seed, as long as it is worth it.

A job names the seeds in rungs, such as (0,), (1, 2), (3, ..., 11): a program is trained on the
first rung, and on the next one only if its estimate reaches that rung's floor. So losers cost one
seed, and winners, which are the luckiest of thousands, are measured on many.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import accumulate
from time import perf_counter
from typing import TYPE_CHECKING

from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import Program
from optdsl.tasks.scores import FAILED, mean_score
from optdsl.tasks.table import TaskSource

if TYPE_CHECKING:
    from optdsl.tasks.task import Task

Score = tuple[float, float]
"""A trained program's score on the validation and on the test part."""

Run = Callable[[tuple[int, ...]], Sequence[Score]]
"""From seeds to their scores."""

Prepare = Callable[[Program], Run]
"""From a program to what trains it; here it is compiled, if it is at all."""


@dataclass(frozen=True)
class JudgeSpec:
    """All that a worker must know before its first job; it is sent to each once."""

    task: TaskSource
    learning_rate: float
    """The peak of the task's schedule."""
    evaluator: str
    """A key of `EVALUATORS`."""


@dataclass(frozen=True)
class Job:
    """A program to judge."""

    key: str
    """What the result is asked for by."""
    program: Program
    """What is run: without dead code, protected if the search is."""
    rungs: tuple[tuple[int, ...], ...]
    """Seeds."""
    floors: tuple[float, ...] = ()
    """What the estimate must reach to go on, for each rung but the first."""
    baseline: tuple[float, ...] = ()
    """The initial program's scores on all seeds, in order; () where unknown."""
    spec: JudgeSpec | None = None
    """What it is judged by; None: what the engine was started with."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    scores: tuple[Score, ...] = ()
    """One for each seed trained, in the order of the job's rungs."""
    failure: str = ""
    """Why there are none: the worker crashed, or took too long."""
    seconds: float = 0.0
    """How long it took; the only part that another machine will not repeat."""

    @property
    def test(self) -> tuple[float, ...]:
        """The test scores."""
        return tuple(test for _, test in self.scores)

    @property
    def validation(self) -> tuple[float, ...]:
        """The validation scores."""
        return tuple(validation for validation, _ in self.scores)

    def on_all(self, seeds: Sequence[int]) -> tuple[Score, ...]:
        """One score for each seed: judging stops at the first that fails, and so do the others."""
        return self.scores + ((FAILED, FAILED),) * (len(seeds) - len(self.scores))


def estimate(scores: Sequence[float], baseline: Sequence[float]) -> float:
    """The mean score over all seeds, from those on the first of them; FAILED if any failed.

    Some seeds are easier than others. So a program is compared with the baseline seed by seed
    (paired differences), and programs that were trained on different numbers of seeds have
    estimates on one scale.

    Args:
        scores: the program's, at least one.
        baseline: the initial program's on all seeds, at least as many; () where it failed.
    """
    if not scores or FAILED in scores:
        return FAILED
    if len(baseline) < len(scores) or FAILED in baseline:
        return mean_score(scores)
    gain = math.fsum(s - b for s, b in zip(scores, baseline, strict=False)) / len(scores)
    return math.fsum(baseline) / len(baseline) + gain


def estimates(
    scores: Sequence[float], baseline: Sequence[float], rungs: Sequence[Sequence[int]]
) -> tuple[float, ...]:
    """The estimate on each rung that a program reached; the last one is its fitness."""
    bounds = accumulate(map(len, rungs))
    before = accumulate((0, *map(len, rungs[:-1])))
    return tuple(
        estimate(scores[:bound], baseline)
        for begin, bound in zip(before, bounds, strict=True)
        if begin == 0 or len(scores) > begin
    )


Rank = tuple[int, float]
"""Rungs reached, and the estimate there."""


def rank_of(estimates: Sequence[float]) -> Rank:
    """What programs are compared by: how far one got, then its last estimate.

    Estimates on few seeds are noisy, and the best of many are the luckiest. Programs that went on
    did so because theirs were better, and have been measured more often since: those that did not
    are never preferred to them. A program that failed is behind all others.
    """
    last = estimates[-1]
    return (0 if last == FAILED else len(estimates), last)


def rank_measured(fitness: float, seeds: int) -> Rank:
    """The same order, of programs that are told by their fitness and on how many seeds it is."""
    return (0 if fitness == FAILED else seeds, fitness)


SIDE_BY_SIDE = 4
"""So many seeds are trained in one call of the register machine, which costs less for each than one
by one; more save little, and each number of seeds is compiled anew."""


def bytecode_evaluator(task: "Task", learning_rate: float) -> Prepare:
    """The register machine, compiled once; programs that it can't run are compiled."""
    from optdsl.backends.bytecode import UnsupportedProgram
    from optdsl.tasks.evaluation import BytecodeEvaluator, Code, encoded

    evaluator = cache(lambda seeds: BytecodeEvaluator(task, seeds))

    def run(code: Code, seeds: tuple[int, ...]) -> list[Score]:
        scores = evaluator(seeds).train(code, learning_rate)
        return list(zip(scores.validation, scores.test, strict=True))

    def prepare(program: Program) -> Run:
        try:
            evaluator((0,))  # which refuses weights of other dtypes
            return partial(run, encoded(program))
        except UnsupportedProgram:
            return jit_evaluator(task, learning_rate)(program)

    return prepare


def jit_evaluator(task: "Task", learning_rate: float) -> Prepare:
    """Each program compiled into the training loop of its own."""
    from optdsl.tasks.evaluation import compiled_program

    def prepare(program: Program) -> Run:
        train = compiled_program(task, program, learning_rate)
        return lambda seeds: list(map(train, seeds))

    return prepare


EVALUATORS: dict[str, Callable[["Task", float], Prepare]] = {
    "bytecode": bytecode_evaluator,
    "jit": jit_evaluator,
}
"""How programs are trained; their scores agree but for rounding."""


_DIVERGING = load(Source("<warm-up>", "def train(w):\n    return w + 1e30 * 1e30\n"))
"""A program that ends at its first step."""


@cache
def prepare_for(spec: JudgeSpec) -> Prepare:
    """This process's evaluator, made once."""
    return EVALUATORS[spec.evaluator](spec.task.load(), spec.learning_rate)


def judge(spec: JudgeSpec, job: Job) -> Outcome:
    """Train a program on a job's seeds: a pure function but for the seconds.

    An exception is an outcome too: one program, or the task's code for it, must not end a search.

    Raises:
        TaskError: if there is no such task here.
    """
    began = perf_counter()
    prepare = prepare_for(job.spec or spec)
    try:
        scores = _drive(climb(job), prepare(job.program))
    except MemoryError:
        raise
    except Exception as error:
        return Outcome(failure=in_one_line(error), seconds=perf_counter() - began)
    return Outcome(scores, seconds=perf_counter() - began)


Climb = Generator[tuple[int, ...], Sequence[Score], tuple[Score, ...]]
"""Yields seeds, is sent their scores, and returns all scores."""


def climb(job: Job, at_once: int | None = SIDE_BY_SIDE) -> Climb:
    """Scores up to the first rung whose floor is missed, or the first seed that fails.

    Args:
        job: what to judge.
        at_once: how many seeds to ask for together at most; None: all of a rung. The scores don't
            depend on it, but for rounding.
    """
    scores: list[Score] = []
    for floor, seeds in zip((-math.inf, *job.floors), job.rungs, strict=False):
        if scores and estimate([valid for valid, _ in scores], job.baseline) < floor:
            break
        for begin in range(0, len(seeds), at_once or len(seeds)):
            scores += yield seeds[begin : begin + (at_once or len(seeds))]
            failed = [i for i, (validation, _) in enumerate(scores) if validation == FAILED]
            if failed:
                return tuple(scores[: failed[0] + 1])
    return tuple(scores)


def _drive(steps: Climb, run: Run) -> tuple[Score, ...]:
    """What it returns, each of its seeds trained when it asks."""
    try:
        seeds = next(steps)
        while True:
            seeds = steps.send(run(seeds))
    except StopIteration as end:
        return end.value


def in_one_line(error: Exception) -> str:
    """What kind of error it is, and the first line of what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def warm_up(spec: JudgeSpec) -> None:
    """Load the task and compile what is compiled once, so that no job waits for it."""
    prepare_for(spec)(_DIVERGING)((0,))
