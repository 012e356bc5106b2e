"""The search loop: what a proposal may depend on, what is evaluated, and what is kept."""

import hashlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from optdsl.evolve.driver import (
    INITIAL,
    Knowledge,
    Progress,
    Search,
    SearchResult,
    SearchSettings,
    take_turns,
)
from optdsl.evolve.hurdles import Hurdles
from optdsl.evolve.judge import Job, Outcome, estimates
from optdsl.evolve.proposals import Candidate, Space, check
from optdsl.evolve.store import Commit
from optdsl.ir import print_program
from optdsl.passes.hashing import structural_hash

SETTINGS = SearchSettings("evolution", programs=150, population=20, seed=5, lag=16)


def fitness_of(key: str) -> float:
    """A fitness as rugged as can be; a quarter of all programs fail."""
    digest = hashlib.sha256(key.encode()).digest()
    return -math.inf if digest[0] < 64 else -digest[1] / 16


def outcome(fitness: float) -> Outcome:
    return Outcome(((fitness, fitness),))


class Eager:
    """Judges a program when it is submitted."""

    def __init__(self, fitness: Callable[[str], float] = fitness_of) -> None:
        self.fitness = fitness
        self.jobs: list[Job] = []
        self.submitted: list[str] = []
        self.asked: list[str] = []
        self.found: dict[str, Outcome] = {}

    def submit(self, job: Job) -> None:
        assert structural_hash(job.program) == job.key
        self.jobs.append(job)
        self.submitted.append(job.key)
        self.found[job.key] = outcome(self.fitness(job.key))

    def result(self, key: str) -> Outcome:
        self.asked.append(key)
        return self.found.pop(key)

    def close(self) -> None:
        raise AssertionError("a search does not close its engine")


class Lazy(Eager):
    """Judges a program when its result is asked for."""

    def submit(self, job: Job) -> None:
        super().submit(job)
        del self.found[job.key]

    def result(self, key: str) -> Outcome:
        self.found[key] = outcome(self.fitness(key))
        return super().result(key)


class Late(Eager):
    """Judges all that is waiting, in a random order, when any result is asked for."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng, self.waiting = random.Random(seed), list[str]()

    def submit(self, job: Job) -> None:
        super().submit(job)
        self.waiting.append(job.key)
        del self.found[job.key]

    def result(self, key: str) -> Outcome:
        self.rng.shuffle(self.waiting)
        self.found |= {each: outcome(self.fitness(each)) for each in self.waiting}
        self.waiting.clear()
        return super().result(key)


@dataclass
class Ran:
    """A finished search, and what could be seen from outside."""

    result: SearchResult
    commits: list[Commit]
    events: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])


def search(
    initial: Candidate, engine: Any, functions: Any, on_commit: Any, **options: Any
) -> Search:
    options = {"settings": SETTINGS, "knowledge": Knowledge()} | options
    return Search(initial, engine, space=Space(functions), on_commit=on_commit, **options)


def run(
    initial: Candidate,
    functions: Any,
    settings: SearchSettings = SETTINGS,
    engine: Any = None,
    knowledge: Knowledge | None = None,
    baseline: tuple[float, ...] = (),
) -> Ran:
    commits: list[Commit] = []
    found = search(
        initial,
        engine or Eager(),
        functions,
        commits.append,
        settings=settings,
        knowledge=knowledge or Knowledge(),
        baseline=baseline,
    ).run()
    return Ran(found, commits)


@pytest.fixture(scope="module")
def initial(genome_of) -> Candidate:
    candidate = check(
        genome_of(
            "def train(w, g, m, lr):\n    m = interp(g, m, 0.9)\n    s = sign(m)\n"
            "    d = w * 0.1\n    s = s + d\n    s = s * lr\n    return s, m\n"
        )
    )
    assert candidate is not None
    return candidate


def test_commits_are_in_order_and_complete(initial, paper_functions) -> None:
    ran = run(initial, paper_functions)
    assert [c.number for c in ran.commits] == list(range(INITIAL, SETTINGS.programs))
    first, *rest = ran.commits
    assert (first.parent, first.mutation, first.invalid) == (None, "initial", 0)
    assert (first.key, first.fitness) == (initial.key, fitness_of(initial.key))
    for commit in rest:
        assert commit.stage == "evolution"
        assert commit.parent is not None
        assert INITIAL <= commit.parent < commit.number
        assert commit.fitness == fitness_of(commit.key)
        assert 0 <= commit.live_statements <= commit.statements
    seen: set[str] = set()
    for commit in ran.commits:
        assert (commit.judged is None) == (commit.key in seen), "what is found comes with the first"
        seen.add(commit.key)


def test_a_parent_is_one_of_those_committed_long_enough_ago(initial, paper_functions) -> None:
    """And not older than the population remembers."""
    settings = replace(SETTINGS, programs=300, population=10, lag=7)
    for commit in run(initial, paper_functions, settings).commits[1:]:
        assert commit.parent is not None
        assert commit.parent <= commit.number - settings.lag or commit.parent == INITIAL
        if commit.number >= settings.lag + settings.population:
            newest = commit.number - settings.lag
            assert newest - settings.population < commit.parent <= newest


def test_proposals_are_made_when_exactly_their_lag_is_committed(initial, paper_functions) -> None:
    """A new key is submitted while commits up to i - lag are done, no more and no fewer."""
    events: list[tuple[str, Any]] = []

    class Watched(Eager):
        def submit(self, job: Job) -> None:
            super().submit(job)
            events.append(("submit", job.key))

    def committed(commit: Commit) -> None:
        events.append(("commit", commit))

    settings = replace(SETTINGS, lag=5)
    search(initial, Watched(), paper_functions, committed, settings=settings).run()
    first_with = {}
    for kind, what in events:
        if kind == "commit":
            first_with.setdefault(what.key, what.number)
    done = INITIAL - 1
    for kind, what in events:
        if kind == "commit":
            done = what.number
        elif what != initial.key:
            number = first_with[what]
            assert done == max(number - settings.lag, INITIAL)


@pytest.mark.parametrize("change_at", [0, 20, 60])
def test_a_result_changes_no_proposal_within_the_lag(
    initial, paper_functions, change_at: int
) -> None:
    """Proposal i is made from commits up to i - lag, so commit c matters from c + lag on."""

    class Changed(Eager):
        """From some commit on every result is another."""

        def result(self, key: str) -> Outcome:
            found = super().result(key)
            return outcome(-found.validation[0] - 1) if len(commits) > change_at + 1 else found

    commits: list[Commit] = []
    base = run(initial, paper_functions)
    search(initial, Changed(), paper_functions, commits.append).run()

    def shape(commit: Commit) -> tuple[Any, ...]:
        return commit.parent, commit.mutation, commit.invalid, commit.key

    same = [shape(a) == shape(b) for a, b in zip(base.commits, commits, strict=True)]
    differing = [a.number for a, b in zip(base.commits, commits, strict=True)
                 if a.fitness != b.fitness]  # fmt: skip
    assert differing
    assert all(same[: 1 + differing[0] + SETTINGS.lag])
    assert not all(same), "but later on it does"


def test_each_key_is_submitted_and_asked_for_once(initial, paper_functions) -> None:
    engine = Eager()
    ran = run(initial, paper_functions, engine=engine)
    assert len(set(engine.submitted)) == len(engine.submitted) == len(set(engine.asked))
    assert set(engine.submitted) == {commit.key for commit in ran.commits}
    assert not engine.found, "every result was used"
    assert engine.asked == list(dict.fromkeys(commit.key for commit in ran.commits))


def test_the_same_for_every_engine(initial, paper_functions) -> None:
    expected = run(initial, paper_functions)
    for engine in (Lazy(), Late(1), Late(2)):
        ran = run(initial, paper_functions, engine=engine)
        assert ran.commits == expected.commits
        assert ran.result == expected.result


def test_the_seed_and_the_lag_belong_to_the_search(initial, paper_functions) -> None:
    base = run(initial, paper_functions).commits
    assert run(initial, paper_functions).commits == base
    for other in ({"seed": 6}, {"lag": 1}, {"tournament": 5}, {"population": 3}):
        changed = run(initial, paper_functions, replace(SETTINGS, **other)).commits
        assert [c.number for c in changed] == [c.number for c in base]
        assert changed != base, other


def test_more_proposals_continue_the_same_search(initial, paper_functions) -> None:
    short = run(initial, paper_functions, replace(SETTINGS, programs=40)).commits
    assert run(initial, paper_functions).commits[: len(short)] == short


@pytest.mark.parametrize("lag", [1, 4, 64, 1000])
def test_counts(initial, paper_functions, lag: int) -> None:
    engine = Eager()
    ran = run(initial, paper_functions, replace(SETTINGS, lag=lag), engine)
    progress = ran.result.progress
    assert progress.programs == SETTINGS.programs
    assert progress.evaluations == len(engine.submitted) - 1
    assert progress.cache_hits == progress.programs - progress.evaluations > 0
    assert progress.hit_rate == progress.cache_hits / progress.programs
    assert progress.invalid == sum(commit.invalid for commit in ran.commits)
    assert progress.best == max(commit.fitness for commit in ran.commits)
    last = ran.commits[-SETTINGS.population :]
    live, total = sum(c.live_statements for c in last), sum(c.statements for c in last)
    assert progress.redundant_fraction == pytest.approx(1 - live / total)


def test_nothing_counted_yet() -> None:
    assert Progress(0, 0, 0, -math.inf, 0.0).hit_rate == 0.0


@pytest.mark.parametrize("budget", [0, 1, 2, 30])
@pytest.mark.parametrize("lag", [1, 16, 1000])
def test_the_budget_is_met_exactly(initial, paper_functions, budget: int, lag: int) -> None:
    settings = replace(SETTINGS, programs=10_000, evaluations=budget, lag=lag)
    engine = Eager()
    ran = run(initial, paper_functions, settings, engine)
    assert ran.result.progress.evaluations == budget
    assert len(engine.submitted) == budget + 1
    assert [c.number for c in ran.commits] == list(range(INITIAL, ran.result.progress.programs))
    if budget:
        assert ran.commits[-1].judged is not None, "the last proposal is the last evaluated"


def test_the_proposals_may_run_out_before_the_budget(initial, paper_functions) -> None:
    settings = replace(SETTINGS, programs=20, evaluations=1000)
    assert run(initial, paper_functions, settings).result.progress.programs == 20


def test_what_other_searches_found_is_not_evaluated_again(initial, paper_functions) -> None:
    knowledge = Knowledge()
    base = run(initial, paper_functions, knowledge=knowledge)
    assert knowledge.estimates == {c.key: (c.fitness,) for c in base.commits}
    engine = Eager()
    again = run(initial, paper_functions, engine=engine, knowledge=knowledge)
    assert engine.submitted == []
    assert again.result.progress.evaluations == 0
    assert all(commit.judged is None for commit in again.commits)
    assert [(c.key, c.fitness) for c in again.commits] == [(c.key, c.fitness) for c in base.commits]


def test_searches_that_take_turns(initial, paper_functions) -> None:
    """Each is what it is alone; what they share is judged once, for the first that asks."""
    settings = [replace(SETTINGS, programs=100 - i, seed=i, stage=f"s{i}") for i in range(3)]
    alone = [run(initial, paper_functions, one).commits for one in settings]
    commits, engine, knowledge = list[Commit](), Eager(), Knowledge()
    searches = [
        search(
            initial,
            engine,
            paper_functions,
            commits.append,
            settings=one,
            knowledge=knowledge,
        )
        for one in settings
    ]
    take_turns(searches)
    order = [(commit.number, commit.stage) for commit in commits]
    assert order == sorted(order)
    for one, own in zip(settings, alone, strict=True):
        mine = [replace(c, judged=None) for c in commits if c.stage == one.stage]
        assert mine == [replace(c, judged=None) for c in own]
    first: dict[str, Commit] = {}
    for commit in commits:
        first.setdefault(commit.key, commit)
    assert sorted(engine.submitted) == sorted(engine.asked) == sorted(first)
    assert [c.key for c in commits if c.judged] == list(first)
    for each in searches:
        new = [c for c in first.values() if c.stage == each.stage and c.number >= 0]
        assert each.progress().evaluations == len(new)


def test_searches_that_take_turns_and_an_earlier_run(initial, paper_functions) -> None:
    """What one of them borrowed another may commit first."""
    earlier = {c.key: outcome(c.fitness) for c in run(initial, paper_functions).commits}
    knowledge = Knowledge(lookup=earlier.get)
    commits, engine = list[Commit](), Eager()
    long, short = (
        search(
            initial,
            engine,
            paper_functions,
            commits.append,
            settings=replace(SETTINGS, lag=lag, stage=f"lag {lag}"),
            knowledge=knowledge,
        )
        for lag in (30, 2)
    )
    take_turns([long, short])
    judged = [c.key for c in commits if c.judged]
    assert sorted(judged) == sorted({c.key for c in commits})
    assert not knowledge.found
    assert all(c.judged.borrowed == (c.key in earlier) for c in commits if c.judged)


@pytest.mark.parametrize("evaluations", [None, 40])
@pytest.mark.parametrize("committed", [0, 1, 30, 151])
def test_what_was_judged_before_a_kill_is_counted_but_not_judged_again(
    initial, paper_functions, committed: int, evaluations: int | None
) -> None:
    settings = replace(SETTINGS, evaluations=evaluations)
    whole = run(initial, paper_functions, settings)
    knowledge = Knowledge({c.key: (c.fitness,) for c in whole.commits[:committed]})
    known = set(knowledge.estimates)
    engine = Eager()
    resumed = run(initial, paper_functions, settings, engine, knowledge)
    assert resumed.result == whole.result
    assert not known & set(engine.submitted)
    for before, after in zip(whole.commits, resumed.commits, strict=True):
        assert after == (replace(before, judged=None) if before.key in known else before)


def test_what_an_earlier_run_judged_is_no_evaluation(initial, paper_functions) -> None:
    whole = run(initial, paper_functions)
    keys = list(dict.fromkeys(commit.key for commit in whole.commits))
    earlier = {key: outcome(fitness_of(key)) for key in keys[::2]}
    engine = Eager()
    ran = run(initial, paper_functions, engine=engine, knowledge=Knowledge(lookup=earlier.get))
    assert engine.submitted == keys[1::2]
    assert ran.result.progress.evaluations == len(engine.submitted)
    assert [(c.key, c.fitness) for c in ran.commits] == [(c.key, c.fitness) for c in whole.commits]
    judged = {c.key: c.judged for c in ran.commits if c.judged is not None}
    assert set(judged) == set(keys)
    for key, found in judged.items():
        assert found.borrowed == (key in earlier)
        assert found.outcome == outcome(fitness_of(key))
    # After a kill too.
    resumed = Knowledge(
        {key: (fitness_of(key),) for key in keys}, borrowed=set(earlier), lookup=earlier.get
    )
    again = run(initial, paper_functions, engine=Eager(), knowledge=resumed)
    assert again.result == ran.result


def test_the_initial_program_known_already_is_no_part_of_the_budget(
    initial, paper_functions
) -> None:
    settings = replace(SETTINGS, programs=10_000, evaluations=10)
    engine = Eager()
    knowledge = Knowledge({initial.key: (-1.0,)}, seen={initial.key})
    ran = run(initial, paper_functions, settings, engine, knowledge)
    assert len(engine.submitted) == 10
    assert ran.result.progress.evaluations == 10


def test_what_a_job_says(initial, paper_functions) -> None:
    """Floors are of the programs that were committed when the program was made."""
    settings = replace(
        SETTINGS, rungs=((0,), (1, 2), (3,)), hurdles=(0.5, 0.9), lag=7, population=9
    )
    engine = Eager()
    ran = run(initial, paper_functions, settings, engine, baseline=(-1.0, -2.0, -3.0, -4.0))
    first = {}
    for commit in ran.commits:
        first.setdefault(commit.key, commit)
    alone, *others = engine.jobs
    assert (alone.key, alone.floors) == (initial.key, (-math.inf, -math.inf))
    for job in others:
        assert job.rungs == settings.rungs
        assert job.baseline == (-1.0, -2.0, -3.0, -4.0)
        hurdles = Hurdles(settings.hurdles, settings.population)
        for commit in first.values():
            if commit.number <= max(first[job.key].number - settings.lag, INITIAL):
                scores = outcome(fitness_of(commit.key)).validation
                hurdles.add(estimates(scores, job.baseline, settings.rungs))
        assert job.floors == hurdles.floors()


def test_the_fitness_is_an_estimate_for_all_seeds(initial, paper_functions) -> None:
    """A program that got no further than the first rung is compared with the baseline there."""
    ran = run(initial, paper_functions, baseline=(-1.0, -2.0))
    for commit in ran.commits:
        assert commit.fitness == -1.5 + (fitness_of(commit.key) - -1.0)


def test_programs_are_committed_with_their_dead_statements(initial, paper_functions) -> None:
    ran = run(initial, paper_functions)
    texts = {c.key: c.judged.text for c in ran.commits if c.judged is not None}
    assert texts[initial.key] == print_program(initial.program)
    for commit in ran.commits:
        if commit.judged is not None:
            assert texts[commit.key].count(" = ") >= commit.live_statements


@pytest.mark.parametrize("count", [1, 3, 10, 1000])
def test_leaders_are_the_best_distinct_programs(initial, paper_functions, count: int) -> None:
    ran = run(initial, paper_functions, replace(SETTINGS, leaders=count))
    first: dict[str, Commit] = {}
    for commit in ran.commits:
        first.setdefault(commit.key, commit)
    best = sorted(first.values(), key=lambda commit: (-commit.fitness, commit.number))[:count]
    leaders = ran.result.leaders
    assert [(x.id.number, x.candidate.key, x.rank[1]) for x in leaders] == [
        (commit.number, commit.key, commit.fitness) for commit in best
    ]
    assert len({leader.candidate.key for leader in leaders}) == len(leaders)


def test_where_every_program_fails(initial, paper_functions) -> None:
    ran = run(initial, paper_functions, engine=Eager(lambda _: -math.inf))
    progress = ran.result.progress
    assert progress.best == -math.inf
    assert all(leader.rank == (0, -math.inf) for leader in ran.result.leaders)
    assert ran.result.leaders[0].id.number == INITIAL
    assert not any(math.isnan(commit.fitness) for commit in ran.commits)


def test_tune_changes_only_constants(initial, paper_functions) -> None:
    ran = run(initial, paper_functions, replace(SETTINGS, strategy="tune"))
    assert {commit.mutation for commit in ran.commits[1:]} == {"tune"}
    statements = initial.genome.statements
    for leader in ran.result.leaders:
        found = leader.candidate.genome.statements
        assert [(s.target, s.op) for s in found] == [(s.target, s.op) for s in statements]
        for old, new in zip(statements, found, strict=True):
            assert [a for a in old.args if isinstance(a, str)] == [
                a for a in new.args if isinstance(a, str)
            ]


def test_an_exception_of_the_engine_passes_through(initial, paper_functions) -> None:
    class Broken(Eager):
        def result(self, key: str) -> Outcome:
            if len(self.asked) == 5:
                raise KeyboardInterrupt
            return super().result(key)

    commits: list[Commit] = []
    with pytest.raises(KeyboardInterrupt):
        search(initial, Broken(), paper_functions, commits.append).run()
    whole = run(initial, paper_functions).commits
    assert commits == whole[: len(commits)]
    assert len({commit.key for commit in commits}) == 5
