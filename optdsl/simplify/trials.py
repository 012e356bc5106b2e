"""Fair comparisons: paired seeds, and a learning rate of its own for each program.

What a program reaches depends on its learning rate, and simplification may change the scale of the
update. So programs are compared each at a rate tuned for it, seed by seed: the cost of a change is
the mean paired difference of scores, with a 95 % confidence interval.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from optdsl.backends.bytecode import UnsupportedProgram
from optdsl.ir import Program
from optdsl.passes.hashing import structural_hash
from optdsl.passes.protect import protect
from optdsl.tasks.evaluation import BytecodeEvaluator, default_learning_rate, evaluate_jitted
from optdsl.tasks.scores import FAILED, mean_score
from optdsl.tasks.statistics import half_width
from optdsl.tasks.task import Task

SIFTING_SEEDS = tuple(range(3_000, 3_004))
"""Tried first: what is clearly worse on these is rejected."""

SEEDS = tuple(range(3_000, 3_024))
"""What is decided by; no search and no report uses them."""

FRESH_SEEDS = tuple(range(4_000, 4_024))
"""The result is measured on these against the original; nothing is chosen by them."""

STEP = math.sqrt(10.0)
"""The ratio of neighbouring learning rates in a grid."""

WIDE = range(-4, 5)
"""The grid for the original: how many steps from its default."""

FURTHER = 8
"""How many steps the grid goes on where its best is at an end, or where all of it diverges."""

NARROW = tuple(STEP**i for i in (-2, -1, 1, 2))
"""The rates that a candidate is tried at besides the present one."""


@dataclass(frozen=True)
class Trained:
    """What a program reaches at a learning rate."""

    program: Program
    rate: float
    scores: tuple[float, ...]

    @property
    def fitness(self) -> float:
        """The mean over the seeds."""
        return mean_score(self.scores)


@dataclass(frozen=True)
class Cost:
    """How much worse than another a program is, per seed."""

    mean: float
    error: float
    """Half the width of the 95 % confidence interval."""

    @property
    def most(self) -> float:
        """The upper end of the interval."""
        return self.mean + self.error


def cost(of: Sequence[float], against: Sequence[float]) -> Cost:
    """The paired difference of scores; infinite where a run diverged."""
    if FAILED in of or FAILED in against:
        return Cost(math.inf, 0.0)
    gaps = [b - a for a, b in zip(of, against, strict=True)]
    return Cost(math.fsum(gaps) / len(gaps), half_width(gaps))


class Trials:
    """Trains programs on one task."""

    def __init__(self, task: Task, protected: bool = False) -> None:
        """`protected`: train programs with their functions kept inside of their domains."""
        self.task, self.protected = task, protected
        self._evaluator = cache(lambda seeds: BytecodeEvaluator(task, seeds))
        self.runs = 0
        """How many there were so far."""
        self._known: dict[tuple[str, float, tuple[int, ...]], tuple[float, ...]] = {}

    def scores(self, program: Program, rate: float, seeds: tuple[int, ...]) -> tuple[float, ...]:
        """The validation scores, one for each seed."""
        executed = protect(program) if self.protected else program
        key = structural_hash(executed), rate, seeds
        if key not in self._known:
            self.runs += len(seeds)
            try:
                scores = self._evaluator(seeds).evaluate(executed, rate)
            except UnsupportedProgram:
                scores = evaluate_jitted(self.task, executed, seeds, rate)
            self._known[key] = scores.validation
        return self._known[key]

    def tuned(self, program: Program) -> Trained:
        """The program at the best rate of a grid that is wide enough to hold it."""
        default = default_learning_rate(program, self.task)
        steps = list(WIDE)
        while True:
            best = self._best(program, [default * STEP**i for i in steps], SEEDS)
            if len(steps) > len(WIDE) + FURTHER:
                return best
            if best.fitness == FAILED or best.rate == default * STEP ** steps[0]:
                steps.insert(0, steps[0] - 1)
            elif best.rate == default * STEP ** steps[-1]:
                steps.append(steps[-1] + 1)
            else:
                return best

    def candidate(self, program: Program, reference: Trained, tolerance: float) -> Trained | None:
        """The program on all seeds at a rate that suits it, or None if it is clearly worse."""
        best = self._best(program, [reference.rate], SIFTING_SEEDS)
        known = reference.scores[: len(SIFTING_SEEDS)]
        if cost(best.scores, known).mean > tolerance:
            others = [reference.rate * factor for factor in NARROW]
            best = self._best(program, [reference.rate, *others], SIFTING_SEEDS)
            if cost(best.scores, known).mean > 3 * tolerance:
                return None
        return Trained(program, best.rate, self.scores(program, best.rate, SEEDS))

    def climbed(self, trained: Trained) -> Trained:
        """The same program at a better rate, if a neighbouring one is."""
        best = trained
        for factor in (STEP, 1.0 / STEP):
            for _ in range(FURTHER):
                further = self._best(best.program, [best.rate * factor], SEEDS)
                if further.fitness <= best.fitness:
                    break
                best = further
        return best

    def on(self, trained: Trained, seeds: tuple[int, ...]) -> Trained:
        """The same program at the same rate on other seeds."""
        scores = self.scores(trained.program, trained.rate, seeds)
        return Trained(trained.program, trained.rate, scores)

    def _best(self, program: Program, rates: list[float], seeds: tuple[int, ...]) -> Trained:
        found = [Trained(program, rate, self.scores(program, rate, seeds)) for rate in rates]
        return max(found, key=lambda trained: trained.fitness)


def reference_trials(
    make: Callable[[bool], Trials], program: Program
) -> tuple[Trials, Trained | None]:
    """How to train a program so that it does not diverge, and what it then reaches.

    Protected, if it diverges as it is at every rate; None if it does so even then.
    """
    trials = make(False)
    trained = trials.tuned(program)
    if trained.fitness == FAILED:
        trials = make(True)
        trained = trials.tuned(program)
    return trials, None if trained.fitness == FAILED else trained
