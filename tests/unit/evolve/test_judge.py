"""Judging a job: rungs and floors, the estimate, exceptions, and what is sent to workers."""

import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from optdsl.diagnostics import Source
from optdsl.evolve import judge as judge_module
from optdsl.evolve.judge import (
    EVALUATORS,
    Job,
    JudgeSpec,
    Outcome,
    Run,
    Score,
    estimate,
    estimates,
    in_one_line,
    judge,
    prepare_for,
    rank_of,
    warm_up,
)
from optdsl.frontend import find_source, load, stdlib
from optdsl.ir import Program
from optdsl.ops import BY_NAME
from optdsl.tasks import TaskError, TaskSource
from optdsl.tasks.scores import FAILED

SPEC = JudgeSpec(TaskSource("quadratic"), 0.1, "bytecode")
PROGRAM = load(Source("<test>", "def train(g, lr):\n    return lr * g\n"))


def test_an_estimate_without_a_baseline_is_the_mean() -> None:
    assert estimate((-1.0, -2.0, -6.0), ()) == -3.0
    assert estimate((-1.0,), ()) == -1.0


def test_an_estimate_is_paired_with_the_baseline() -> None:
    """Better by 1 than the baseline on two hard seeds is better by 1 on all."""
    baseline = (-10.0, -20.0, -1.0, -1.0)
    assert estimate((-9.0, -19.0), baseline) == -8.0 + 1.0
    assert estimate((-11.0,), baseline) == -8.0 - 1.0
    assert estimate(baseline, baseline) == -8.0
    whole = (-1.0, -2.0, -3.0, -4.0)
    assert estimate(whole, baseline) == pytest.approx(math.fsum(whole) / 4)
    # So an easy first seed is no advantage.
    assert estimate((-1.0,), (-1.0, -9.0)) == estimate((-1.0, -9.0), (-1.0, -9.0)) == -5.0


@pytest.mark.parametrize("baseline", [(), (-1.0, -2.0, -3.0), (-1.0, FAILED, -3.0)])
@pytest.mark.parametrize("scores", [(), (FAILED,), (-1.0, FAILED)])
def test_a_failed_program_has_failed(scores: tuple[float, ...], baseline: Any) -> None:
    assert estimate(scores, baseline) == FAILED


@pytest.mark.parametrize("baseline", [(), (-5.0,), (-5.0, FAILED), (FAILED, FAILED)])
def test_a_baseline_that_is_no_help_is_left_out(baseline: tuple[float, ...]) -> None:
    assert estimate((-1.0, -3.0), baseline) == -2.0


def test_each_rung_that_was_reached_has_an_estimate() -> None:
    rungs = ((0,), (1, 2), (3,))
    baseline = (-1.0, -2.0, -3.0, -4.0)
    scores = (-2.0, -2.0, -2.0, -1.0)
    assert estimates(scores[:1], baseline, rungs) == (-3.5,)
    assert estimates(scores[:3], baseline, rungs) == (-3.5, -2.5)
    assert estimates(scores, baseline, rungs) == (-3.5, -2.5, -1.75)
    assert estimates((), baseline, rungs) == (FAILED,)
    assert estimates((FAILED,), baseline, rungs) == (FAILED,)
    assert estimates((-2.0, FAILED), baseline, rungs) == (-3.5, FAILED)


def test_programs_that_went_on_are_better_than_those_that_did_not() -> None:
    ranked = [(FAILED,), (-1.0, FAILED), (-9.0,), (-1.0,), (-1.0, -9.0), (-8.0, -2.0)]
    assert [rank_of(one) for one in ranked] == sorted(map(rank_of, ranked))
    assert rank_of((FAILED,)) == rank_of((-1.0, FAILED))


class Trained:
    """Stands for an evaluator: scores by seed; remembers the seeds."""

    def __init__(self, scores: dict[int, float], error: Exception | None = None) -> None:
        self.scores, self.error = scores, error
        self.seeds: list[int] = []

    def __call__(self, program: Program) -> Run:
        def run(seeds: tuple[int, ...]) -> list[Score]:
            self.seeds += seeds
            if not self.scores.keys() >= {*seeds}:
                raise self.error or AssertionError(seeds)
            return [(self.scores[seed], self.scores[seed] - 1) for seed in seeds]

        return run


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trained]:
    def with_scores(*scores: float, error: Exception | None = None) -> Trained:
        one = Trained(dict(enumerate(scores)), error)
        monkeypatch.setattr(judge_module, "prepare_for", lambda spec: one)
        return one

    return with_scores


RUNGS = ((0,), (1, 2), (3,))


@pytest.mark.parametrize(
    ("floors", "count"),
    [
        ((), 1),
        ((-9.0,), 3),
        ((-9.0, -9.0), 4),
        ((-math.inf, -math.inf), 4),
        ((-1.0, -9.0), 4),  # reached exactly
        ((-0.9, -9.0), 1),
        ((-9.0, -1.0), 3),
    ],
)
def test_a_rung_is_climbed_where_its_floor_is_reached(
    trained: Callable[..., Trained], floors: tuple[float, ...], count: int
) -> None:
    one = trained(-1.0, -2.0, -3.0, -4.0)
    outcome = judge(SPEC, Job("k", PROGRAM, RUNGS, floors))
    # Without floors a program is trained on the first rung, as the initial program of a search.
    assert one.seeds == list(range(count))
    assert outcome.validation == (-1.0, -2.0, -3.0, -4.0)[:count]
    assert outcome.test == tuple(score - 1 for score in outcome.validation)
    assert outcome.failure == ""


def test_floors_are_for_estimates(trained: Callable[..., Trained]) -> None:
    trained(-4.0, -4.0, -4.0, -4.0)
    baseline = (-5.0, -1.0, -1.0, -1.0)  # -2 on average
    assert len(judge(SPEC, Job("k", PROGRAM, RUNGS, (-1.0, -2.0), baseline)).scores) == 3
    assert len(judge(SPEC, Job("k", PROGRAM, RUNGS, (-0.9, -2.0), baseline)).scores) == 1
    assert len(judge(SPEC, Job("k", PROGRAM, RUNGS, (-1.0, -4.0), baseline)).scores) == 4


@pytest.mark.parametrize("fails_at", [0, 1, 2, 3])
def test_the_first_failed_seed_is_the_last(trained: Callable[..., Trained], fails_at: int) -> None:
    one = trained(*(FAILED if seed == fails_at else -1.0 for seed in range(4)))
    outcome = judge(SPEC, Job("k", PROGRAM, RUNGS, (-9.0, -9.0)))
    # Seeds of one rung are trained side by side.
    assert one.seeds == [seed for rung in RUNGS for seed in rung if rung[0] <= fails_at]
    assert outcome.validation == (-1.0,) * fails_at + (FAILED,)
    assert estimate(outcome.validation, ()) == FAILED


def test_an_exception_is_an_outcome(trained: Callable[..., Trained]) -> None:
    one = trained(-1.0, error=ValueError("no batch\nand more\n"))
    outcome = judge(SPEC, Job("k", PROGRAM, RUNGS, (-9.0, -9.0)))
    assert one.seeds == [0, 1, 2]
    assert (outcome.scores, outcome.failure) == ((), "ValueError: no batch")


def test_where_memory_runs_out_another_process_may_have_more(
    trained: Callable[..., Trained],
) -> None:
    trained(error=MemoryError())
    with pytest.raises(MemoryError):
        judge(SPEC, Job("k", PROGRAM, RUNGS))


def test_a_task_that_is_not_here_is_no_outcome() -> None:
    spec = JudgeSpec(TaskSource("mine.py", "import no_such_module\n"), 0.1, "bytecode")
    with pytest.raises(TaskError, match="no_such_module"):
        judge(spec, Job("k", PROGRAM, RUNGS))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\nb"), "ValueError: a"),
        (ValueError(), "ValueError: "),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError("\nb"), "RuntimeError: "),
    ],
)
def test_errors_in_one_line(error: Exception, line: str) -> None:
    assert in_one_line(error) == line


TRANSPOSED = """
def train(w, g, lr):
    u = transpose(g)
    u = transpose(u)
    return lr * u
"""


@pytest.mark.parametrize("text", ["", TRANSPOSED], ids=["adamw", "transposed"])
def test_the_evaluators_agree(text: str) -> None:
    """The second program can't be run by the register machine, which then is not used."""
    program = load(Source("<test>", text)) if text else load(find_source("adamw"))
    job = Job("k", program, ((0, 1),))
    bytecode, jit = (
        judge(JudgeSpec(SPEC.task, SPEC.learning_rate, name), job) for name in EVALUATORS
    )
    assert len(bytecode.scores) == 2
    assert FAILED not in bytecode.validation
    if text:
        assert bytecode.scores == jit.scores
    assert bytecode.validation == pytest.approx(jit.validation, rel=1e-4)
    assert bytecode.test == pytest.approx(jit.test, rel=1e-4)


def test_judging_is_a_function() -> None:
    job = Job("k", load(find_source("lion")), RUNGS, (-1e9, -1e9), (-1.0, -1.0, -1.0, -1.0))
    first, again = judge(SPEC, job), judge(SPEC, job)
    assert first.scores == again.scores
    assert len(first.scores) == 4
    assert first.seconds > 0
    faster = JudgeSpec(SPEC.task, 0.2, "bytecode")
    other = judge(faster, job)
    assert other.scores != first.scores
    assert judge(SPEC, replace(job, spec=faster)).scores == other.scores, "the job's own wins"


def test_a_program_that_diverges_fails() -> None:
    program = load(Source("<test>", "def train(w, g):\n    return w + 1e30 * 1e30\n"))
    assert judge(SPEC, Job("k", program, RUNGS)).scores == ((FAILED, FAILED),)


def test_an_evaluator_is_made_once_for_each_task_and_rate() -> None:
    warm_up(SPEC)
    assert prepare_for(SPEC) is prepare_for(JudgeSpec(TaskSource("quadratic"), 0.1, "bytecode"))
    assert prepare_for(SPEC) is not prepare_for(JudgeSpec(TaskSource("quadratic"), 0.2, "bytecode"))


@pytest.mark.parametrize("name", stdlib())
def test_a_job_survives_the_way_to_a_worker(name: str) -> None:
    job = Job("k", load(find_source(name)), RUNGS, (-1.0, FAILED), (-1.0, -2.0))
    found = pickle.loads(pickle.dumps(job))
    assert found == job
    for sent, received in zip(job.program.operations, found.program.operations, strict=True):
        assert received.op is sent.op
        assert received.op is BY_NAME[sent.op.name]


def test_what_else_is_sent() -> None:
    for op in BY_NAME.values():
        assert pickle.loads(pickle.dumps(op)) is op
    for one in (SPEC, JudgeSpec(TaskSource("mine.py", "task = None\n"), 0.1, "jit"),
                Outcome(((-1.0, FAILED),), "crashed", 1.0)):  # fmt: skip
        assert pickle.loads(pickle.dumps(one)) == one
