"""Many programs in each call of the register machine: the same outcomes as one by one."""

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from support.search import CONFIG

from optdsl.backends.bytecode import UnsupportedProgram
from optdsl.diagnostics import Source
from optdsl.evolve import engines
from optdsl.evolve.engines import ENGINES, EngineOptions
from optdsl.evolve.engines.serial import SerialEngine
from optdsl.evolve.engines.side_by_side import SideBySideEngine
from optdsl.evolve.evaluators import choose_evaluator
from optdsl.evolve.genome import from_program
from optdsl.evolve.judge import Job, JudgeSpec, Outcome
from optdsl.evolve.mutations import MUTATIONS
from optdsl.evolve.proposals import KEYS, Space, check, propose
from optdsl.frontend import find_source, load, stdlib
from optdsl.ir import Program
from optdsl.ops import FunctionSet, functions
from optdsl.passes.fold import bind, default_values
from optdsl.passes.hashing import structural_hash
from optdsl.tasks import TaskSource, get_task
from optdsl.tasks.evaluation import BytecodeEvaluator, Code, encoded
from optdsl.tasks.scores import Scores
from optdsl.tasks.side_by_side import ROWS, SideBySideEvaluator

SPEC = JudgeSpec(TaskSource("quadratic"), 0.03, "bytecode")
RUNGS = ((0,), (1, 2), (3, 4))
FLOORS = (-9.0, -8.1)


def mutants(count: int) -> Iterator[Program]:
    """Distinct programs from AdamW, each a step away from the one before."""
    program = load(find_source("adamw"))
    space = Space(functions(FunctionSet.PAPER), KEYS["structural"], False)
    candidate = check(from_program(bind(program, default_values(program))), space.key)
    assert candidate is not None
    rng = random.Random(3)
    for _ in range(count):
        candidate = propose(candidate.genome, rng, MUTATIONS["evolution"], space).candidate
        yield candidate.program


def jobs() -> list[Job]:
    """Of programs that climb, fall, diverge at once, and that the machine can't run."""
    programs = [load(find_source(name)) for name in ("sgd", "lion", "adam", "muon", "amsgrad")]
    programs.append(load(Source("<test>", "def train(w):\n    return w + 1e30 * 1e30\n")))
    programs += mutants(20)
    found = {structural_hash(one): one for one in programs}
    return [Job(key, program, RUNGS, FLOORS) for key, program in found.items()]


def scores(engine: engines.Engine, wanted: list[Job]) -> list[object]:
    """What they get, all submitted before the first is asked for."""
    with closing(engine):
        for job in wanted:
            engine.submit(job)
        outcomes = [engine.result(job.key) for job in wanted]
    return [(one.scores, one.failure) for one in outcomes]


@pytest.fixture(scope="module")
def one_by_one() -> list[object]:
    return scores(SerialEngine(SPEC), jobs())


def test_the_same_outcomes(one_by_one: list[object]) -> None:
    assert scores(SideBySideEngine(SPEC), jobs()) == one_by_one
    trained = {len(found) for found, _ in one_by_one}  # pyright: ignore
    assert trained >= {1, 3, 5}, "some climb, some do not"


def test_outcomes_do_not_depend_on_what_is_judged_together(one_by_one: list[object]) -> None:
    wanted = jobs()
    found = [each for job in wanted[::5] for each in scores(SideBySideEngine(SPEC), [job])]
    assert found == one_by_one[::5]


def able() -> list[Program]:
    """The programs of the standard library that the machine can run."""
    programs = [load(find_source(name)) for name in stdlib()]
    found = [one for one in programs if _runs(one)]
    assert len(found) > 40
    return found


def _runs(program: Program) -> bool:
    try:
        encoded(program)
    except UnsupportedProgram:
        return False
    return True


def test_every_program_of_the_standard_library_that_the_machine_can_run() -> None:
    task, programs = get_task("quadratic"), able()
    alone, together = BytecodeEvaluator(task, (0, 1)), SideBySideEvaluator(task, (0, 1))
    found = together.train(list(map(encoded, programs)), [(0, 1)] * len(programs), 0.01)
    assert found == [alone.evaluate(one, 0.01) for one in programs]


def test_each_program_with_its_own_seeds_in_more_calls_than_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("optdsl.tasks.side_by_side.ROWS", 2)
    task = get_task("quadratic")
    programs = [load(find_source(name)) for name in ("sgd", "lion", "adam", "signsgd", "lamb")]
    seeds = [(0,), (3, 1), (0, 1, 2, 3), (2,), ()]
    evaluator = SideBySideEvaluator(task, range(4))
    assert evaluator.train(list(map(encoded, programs)), seeds, 0.01) == [
        BytecodeEvaluator(task, its).evaluate(one, 0.01) if its else Scores((), ())
        for one, its in zip(programs, seeds, strict=True)
    ]
    assert evaluator.train([], []) == []


def test_few_rows_fit_where_weights_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optdsl.tasks.side_by_side.REGISTER_BYTES", 3 * 4 * 32 * 18)
    evaluator = SideBySideEvaluator(get_task("quadratic"), (0, 1))
    machine, _ = encoded(load(find_source("sgd")))
    assert (machine.registers, evaluator.rows(machine)) == (32, 3)


def test_a_job_of_another_task_is_judged_by_its_own() -> None:
    program = load(find_source("sgd"))
    other = replace(SPEC, task=TaskSource("rosenbrock"), learning_rate=0.001)
    job = Job("meta", program, ((0, 1),), spec=other)
    assert scores(SideBySideEngine(SPEC), [job]) == scores(SerialEngine(SPEC), [job])


def test_after_a_call_that_fails_all_are_judged_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def out_of_memory(_: object, codes: list[Code], *others: object) -> None:
        calls.append(len(codes))
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(SideBySideEvaluator, "train", out_of_memory)
    first, second = jobs()[:2], jobs()[2:5]
    engine = SideBySideEngine(SPEC)
    for part in (first, second):
        for job in part:
            engine.submit(job)
        found = [engine.result(job.key) for job in part]
        assert [(one.scores, one.failure) for one in found] == scores(SerialEngine(SPEC), part)
    assert calls == [2]


@pytest.mark.parametrize(
    ("count", "seeds", "message"),
    [(1, [(0, 7)], r"not the evaluator's seeds: \[7\]"), (2, [(0,)], "shorter")],
)
def test_seeds_that_it_does_not_have(count: int, seeds: list[list[int]], message: str) -> None:
    evaluator = SideBySideEvaluator(get_task("quadratic"), (0, 1))
    with pytest.raises(ValueError, match=message):
        evaluator.train([encoded(load(find_source("sgd")))] * count, seeds)


def test_an_evaluator_without_seeds() -> None:
    with pytest.raises(ValueError, match="a seed"):
        SideBySideEvaluator(get_task("quadratic"), ())


def test_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    options = EngineOptions(workers=0, deadline=10.0)
    assert isinstance(ENGINES["local"](SPEC, options), SerialEngine)
    monkeypatch.setattr("jax.default_backend", lambda: "gpu")
    assert isinstance(ENGINES["local"](SPEC, options), SideBySideEngine)
    assert isinstance(ENGINES["local"](replace(SPEC, evaluator="jit"), options), SerialEngine)


def test_the_rule_counts_what_one_of_many_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def train(self: object, codes: list[Code], *others: object) -> list[Outcome]:
        calls.append(len(codes))
        return []

    monkeypatch.setattr("optdsl.evolve.evaluators.on_accelerator", lambda: True)
    monkeypatch.setattr(SideBySideEvaluator, "train", train)
    choice = choose_evaluator(get_task("quadratic"), load(find_source("sgd")), CONFIG)
    assert choice.evaluator == "bytecode"
    assert calls == [ROWS, ROWS]
