"""A whole run: its searches, the baselines at equal evaluations, re-scoring, and the run folder.

The searches from one start, the restarts, take turns; the others run one after the other.

Started again in the same folder, a run goes on where it stopped: each search proposes what it
proposed before, finds its fitness in the database, and so arrives at the first proposal that was
not committed.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from optdsl.diagnostics import Source
from optdsl.evolve.best import TUNE, Summary, as_written, best_text
from optdsl.evolve.cache import FitnessCache
from optdsl.evolve.config import (
    CONFIG_FILE,
    TUNE_POPULATION,
    TUNE_TOURNAMENT,
    RunConfig,
    to_toml,
)
from optdsl.evolve.driver import (
    Knowledge,
    Leader,
    Progress,
    Search,
    SearchResult,
    SearchSettings,
    take_turns,
)
from optdsl.evolve.engines import Engine, EngineError
from optdsl.evolve.genome import from_program
from optdsl.evolve.judge import Job, JudgeSpec, Score, estimates
from optdsl.evolve.lineage import lineage
from optdsl.evolve.meta import Fall, Watch, points
from optdsl.evolve.mutations import has_constants_to_scale
from optdsl.evolve.proposals import KEYS, Candidate, Space, check
from optdsl.evolve.rescore import CHOICE_SEEDS, REPORT_SEEDS, best_of, gain, report
from optdsl.evolve.store import Commit, Part, StageRow, Store
from optdsl.files import write_text
from optdsl.frontend import load
from optdsl.ir import Program
from optdsl.ops import FunctionSet, functions
from optdsl.passes.by_leaf import LABEL
from optdsl.passes.fold import bind, default_values
from optdsl.passes.hashing import structural_hash

EXHAUSTED = 100
"""Proposals for each evaluation of a baseline after which it has nothing new to propose."""

TICK = 1.0
"""Seconds between notes of the time."""


@dataclass(frozen=True)
class Stage:
    """What is under way, as it is watched: one search, or several that take turns."""

    name: str
    programs: int | None
    """How many it will make; None if it ends with its evaluations."""
    evaluations: int | None
    counts: Callable[[], Progress]


@dataclass(frozen=True)
class Plan:
    """A search to run."""

    row: StageRow
    initial: Candidate
    programs: int
    evaluations: int | None = None
    """See `SearchSettings`."""


OnCommit = Callable[[Stage], None]
"""Called after each commit."""


def create_folder(folder: Path, config: RunConfig) -> None:
    """Make a run folder; it must not exist, or be empty.

    Raises:
        FileExistsError: if it holds anything.
        OSError: if it can't be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    write_text(folder / CONFIG_FILE, to_toml(config))


class Run:
    """One run in one folder, which exists."""

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        start: Callable[[], Engine],
        on_commit: OnCommit,
        cache: FitnessCache | None = None,
        meta: JudgeSpec | None = None,
        on_fall: Callable[[Fall], None] = lambda fall: None,
    ) -> None:
        """Nothing is done before `run`.

        Args:
            config: what the folder's `config.toml` says.
            folder: from `create_folder`.
            start: starts the engine.
            on_commit: see `OnCommit`.
            cache: what earlier runs found, if that is to be used.
            meta: the meta task's, if the configuration names one.
            on_fall: called once for each search at most, see `meta.py`.
        """
        self.config, self.folder, self.start, self.on_commit = config, folder, start, on_commit
        self.cache, self.meta, self.on_fall = cache, meta, on_fall
        which = functions(FunctionSet.PAPER, FunctionSet(config.functions))
        which = tuple(op for op in which if op is not LABEL)  # tasks have no labels
        self.space = Space(which, KEYS[config.cache_level], config.protected, config.keep_lr)
        program = load(Source(CONFIG_FILE, config.program))
        bound = from_program(bind(program, default_values(program)))
        initial = check(bound, self.space.key)
        assert initial is not None, "the program was checked"
        self.initial: Candidate = initial

    def run(self) -> Summary:
        """Search, run the baselines, re-score, write `best.opt`.

        Raises:
            StoreError: if the folder can't be used.
            EngineError: if programs can't be judged.
        """
        with Store(self.folder, to_toml(self.config)) as store, closing(self.start()) as engine:
            return _Sitting(self, store, engine).run()


class _Sitting:
    """A run from its start or its resumption to its end or its next interruption."""

    def __init__(self, run: Run, store: Store, engine: Engine) -> None:
        self.run_, self.config, self.space, self.initial = run, run.config, run.space, run.initial
        self.store, self.engine = store, engine
        self.began, self.before = time.monotonic(), store.seconds()
        self.ticked, self.committed, self.stages = self.began, 0, 0
        self.knowledge = Knowledge(lookup=run.cache.lookup) if run.cache else Knowledge()
        rungs = self.config.rungs
        (scores,) = self._rescore([self._executed(self.initial)], tuple(chain(*rungs)))
        self.baseline = tuple(validation for validation, _ in scores)
        for key, validation, borrowed in store.known():
            self.knowledge.estimates[key] = estimates(validation, self.baseline, rungs)
            if borrowed:
                self.knowledge.borrowed.add(key)

    def run(self) -> Summary:
        """See `Run.run`."""
        config = self.config
        searches = self._searches()
        best = self._choose(searches)
        evaluations = config.baseline_compute * sum(
            found.progress.evaluations for found in searches
        )
        baselines = {
            strategy: best
            if strategy == config.strategy
            else self._choose([self._baseline(strategy, evaluations)])
            for strategy in config.baselines
        }
        programs = [self._executed(one) for one in (self.initial, best.candidate)]
        compared = {name: self._executed(one.candidate) for name, one in baselines.items()}
        scored = self._rescore([*programs, *compared.values()], REPORT_SEEDS)
        initial, best_report, *others = map(report, scored)
        summary = Summary(
            config=config,
            progress=_total([found.progress for found in searches]),
            seconds=self._seconds(),
            initial=initial,
            baselines=dict(zip(compared, others, strict=True)),
            tuned_program=compared[TUNE],
            gain=gain(scored[1], scored[2 + list(compared).index(TUNE)]),
            best=best_report,
            best_program=as_written(programs[1]),
            meta=tuple(points(self.store.db)),
            folder=self.run_.folder,
        )
        ancestors = lineage(self.store.db, best.id)
        write_text(summary.best_file, best_text(summary, ancestors))
        self.store.tick(self._seconds(), self.committed)
        return summary

    def _searches(self) -> list[SearchResult]:
        """The searches that the run is for, in their order."""
        config = self.config
        found: list[SearchResult] = []
        start: Leader | None = None
        if config.tune_first and has_constants_to_scale(self.initial.program):
            plan = Plan(StageRow(Part.TUNING, TUNE, Part.TUNING), self.initial, config.tune_first)
            found += self._search([plan])
            start = self._choose(found)
        parts = config.restarts + (config.restarts > 1)
        share, rest = divmod(config.programs - config.tune_first * len(found), parts)
        restarts = [
            self._from(start, f"{config.strategy}-{number}", Part.RESTART, share + (number <= rest))
            for number in range(1, config.restarts + 1)
        ]
        found += self._search(restarts)
        if config.restarts > 1:
            best = self._choose(found)
            found += self._search([self._from(best, f"{config.strategy}-best", Part.BEST, share)])
        return found

    def _from(self, start: Leader | None, name: str, part: Part, programs: int) -> Plan:
        row = StageRow(name, self.config.strategy, part)
        if start is None:
            return Plan(row, self.initial, programs)
        return Plan(replace(row, origin=start.id), start.candidate, programs)

    def _baseline(self, strategy: str, evaluations: int) -> SearchResult:
        tunable = strategy != TUNE or has_constants_to_scale(self.initial.program)
        programs = EXHAUSTED * evaluations if tunable else 0
        row = StageRow(strategy, strategy, Part.BASELINE)
        (found,) = self._search([Plan(row, self.initial, programs, evaluations)])
        return found

    def _search(self, plans: Sequence[Plan]) -> list[SearchResult]:
        """Run searches that take turns."""
        first = plans[0]
        searches: list[Search] = []
        stage = Stage(
            first.row.name if len(plans) == 1 else f"{len(plans)} x {first.row.strategy}",
            None if first.evaluations is not None else sum(plan.programs for plan in plans),
            first.evaluations,
            lambda: _total([search.progress() for search in searches]),
        )
        watched = [self._new_search(plan, stage) for plan in plans]
        searches += [search for search, _ in watched]
        take_turns(searches)
        for search, watch in watched:
            if watch is not None:
                watch.finish(search)
        return [search.result() for search in searches]

    def _new_search(self, plan: Plan, stage: Stage) -> tuple[Search, Watch | None]:
        config, row = self.config, plan.row
        self.store.begin(row)
        self.stages += 1
        settings = SearchSettings(
            strategy=row.strategy,
            programs=plan.programs,
            population=config.population if row.strategy != TUNE else TUNE_POPULATION,
            tournament=config.tournament if row.strategy != TUNE else TUNE_TOURNAMENT,
            seed=config.seed << 16 | self.stages,
            lag=config.lag,
            evaluations=plan.evaluations,
            rungs=config.rungs,
            hurdles=config.hurdles,
            mutations=config.mutations if row.strategy == "evolution" else (),
            stage=row.name,
        )

        cache, watch = self.run_.cache, self._watch(row)

        def committed(commit: Commit) -> None:
            is_new = self.store.commit(commit)
            if cache and is_new and commit.judged and not commit.judged.borrowed:
                cache.add(commit.key, commit.judged.outcome)
            self.committed += 1
            now = time.monotonic()
            if now - self.ticked >= TICK:
                self.ticked = now
                self.store.tick(self._seconds(), self.committed)
            self.run_.on_commit(stage)
            if watch is not None:
                watch.see(commit.number + 1, search)

        search = Search(
            plan.initial, self.engine, settings, self.space, committed, self.knowledge,
            self.baseline,
        )  # fmt: skip
        return search, watch

    def _watch(self, row: StageRow) -> Watch | None:
        """What follows a search on the meta task; baselines go on as they are."""
        meta, config = self.run_.meta, self.config
        if meta is None or row.part is Part.BASELINE:
            return None
        space, on_fall = self.space, self.run_.on_fall
        return Watch(row.name, config, meta, self.engine, self.store.db, space, on_fall)

    def _choose(self, searches: Sequence[SearchResult]) -> Leader:
        """The best of the searches' leaders on seeds that no search saw."""
        leaders = [leader for found in searches for leader in found.leaders]
        programs = [self._executed(leader.candidate) for leader in leaders]
        return leaders[best_of(self._rescore(programs, CHOICE_SEEDS))]

    def _rescore(
        self, programs: Sequence[Program], seeds: tuple[int, ...]
    ) -> list[tuple[Score, ...]]:
        """Scores on all seeds, side by side; what is known already is not judged again."""
        keys = [structural_hash(program) for program in programs]
        found = {key: self.store.rescored(key, seeds) for key in keys}
        missing = {k: p for k, p in zip(keys, programs, strict=True) if found[k] is None}
        for key, program in missing.items():
            self.engine.submit(Job(f"rescore {key}", program, (seeds,)))
        for key in missing:
            outcome = self.engine.result(f"rescore {key}")
            if outcome.failure and not self.committed:
                raise EngineError(f"the initial program can't be judged: {outcome.failure}")
            scores = outcome.on_all(seeds)
            self.store.rescore(key, seeds, scores)
            found[key] = scores
        return [scores for key in keys if (scores := found[key]) is not None]

    def _executed(self, candidate: Candidate) -> Program:
        return self.space.executed(candidate.program)

    def _seconds(self) -> float:
        return self.before + time.monotonic() - self.began


def _total(parts: Sequence[Progress]) -> Progress:
    """The counts of several searches together."""
    programs = sum(part.programs for part in parts)
    redundant = sum(part.redundant_fraction * part.programs for part in parts)
    return replace(
        max(parts, key=lambda part: part.best),
        programs=programs,
        evaluations=sum(part.evaluations for part in parts),
        invalid=sum(part.invalid for part in parts),
        redundant_fraction=redundant / programs if programs else 0.0,
    )
