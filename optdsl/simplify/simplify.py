"""The whole simplification, in order (section 2.3 of the paper, made automatic).

1. exact and algebraic rewriting (`formal.py`), each step checked by numbers (`check.py`);
2. with a task: removals by evidence, then a factor of `lr` taken out, then constants rounded;
3. names. At the end the result is measured against the original on fresh seeds.
"""

from dataclasses import dataclass

from optdsl.ir import Program, verify
from optdsl.simplify.evidence import ByEvidence, Say
from optdsl.simplify.formal import simplify_algebraically, simplify_exactly
from optdsl.simplify.naming import lift_learning_rate, name_values
from optdsl.simplify.steps import Step, Trail
from optdsl.simplify.trials import FRESH_SEEDS, Cost, Trained, Trials, cost, reference_trials
from optdsl.tasks.scores import FAILED
from optdsl.tasks.task import Task


@dataclass(frozen=True)
class Measured:
    """The result beside the original, each at its own learning rate, on FRESH_SEEDS."""

    original: Trained
    result: Trained
    loss: Cost
    """Of the result against the original."""
    protected: bool
    """Whether programs were trained protected, since the original diverges as it is."""
    stand_in: bool
    """Whether `original` is the formally rewritten program: the original itself diverges (0 / 0)
    where that one does not."""
    runs: int
    """Training runs altogether."""


@dataclass(frozen=True)
class Simplified:
    """A simplified program and how it came about."""

    program: Program
    before: int
    """Statements of the original."""
    steps: tuple[Step, ...]
    rate_factor: float
    """What was taken out of the program: the learning rate for it is the original's times this."""
    measured: Measured | None = None
    """None without a task, or where the original does not train at any learning rate."""

    @property
    def after(self) -> int:
        """Statements of the result."""
        return len(self.program.operations)


def simplify(
    program: Program,
    task: Task | None = None,
    tolerance: float = 0.01,
    say: Say = lambda _: None,
) -> Simplified:
    """Simplify a program.

    Args:
        program: any valid program; it is left as it is.
        task: what evidence comes from; without one only formal rewriting is done.
        tolerance: the loss of fitness that is accepted, at the upper end of the 95 % interval.
        say: told of each step that is taken by evidence.
    """
    trail = Trail(program)
    simplify_exactly(trail)
    simplify_algebraically(trail)
    if task is None:
        factor = lift_learning_rate(trail)
        name_values(trail)
        steps = tuple(trail.steps)
        return Simplified(verify(trail.program), len(program.operations), steps, factor)
    trials, start = reference_trials(lambda protected: Trials(task, protected), trail.program)
    if start is None:
        say(f"the program diverges on {task.name} at every learning rate: there is no evidence")
        return simplify(program)
    say(f"{task.name}: {start.fitness:.4f} at learning rate {start.rate:g}")
    by_evidence = ByEvidence(trials, start, tolerance, say)
    by_evidence.remove(trail)
    factor = lift_learning_rate(trail)
    by_evidence.rescale(trail.program, factor)
    by_evidence.round(trail)
    simplify_algebraically(trail)
    name_values(trail)
    result = Trained(trail.program, by_evidence.present.rate, ())
    original = trials.tuned(program)
    stand_in = original.fitness == FAILED
    original = start if stand_in else original
    original, result = trials.on(original, FRESH_SEEDS), trials.on(result, FRESH_SEEDS)
    loss = cost(result.scores, original.scores)
    measured = Measured(original, result, loss, trials.protected, stand_in, trials.runs)
    steps = tuple(trail.steps)
    return Simplified(verify(trail.program), len(program.operations), steps, factor, measured)
