"""The search loop: numbered proposals, commits in their order, a cache by hash.

Proposal i is made from the population as it stood after commit i - lag, with randomness from
(seed, i) alone. So a run is a pure function of its configuration, its task and its initial program,
however many evaluations are under way at once, and a killed run resumes by running again: what was
committed is known already. Searches that share what they know take turns, proposal by proposal: so
the workers have something to do while one search waits for a long evaluation.
"""

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from optdsl.evolve.engines import Engine
from optdsl.evolve.genome import live_statements
from optdsl.evolve.hurdles import Hurdles
from optdsl.evolve.judge import Job, Outcome, Rank, estimates, rank_of
from optdsl.evolve.mutations import BY_NAME, MUTATIONS
from optdsl.evolve.population import Member, Population
from optdsl.evolve.proposals import Candidate, Proposal, Space, propose
from optdsl.evolve.store import Commit, Judged, ProposalId
from optdsl.ir import print_program
from optdsl.tasks.scores import FAILED

INITIAL = -1
"""The number of the initial program."""


@dataclass(frozen=True)
class SearchSettings:
    """One search; defaults are those of section 2.2 of the paper where it has them."""

    strategy: str
    """A key of `MUTATIONS`."""
    programs: int
    """Proposals to make, at most."""
    population: int = 1000
    tournament: int = 2
    seed: int = 0
    lag: int = 64
    """How many proposals may be under way before the first of them is committed."""
    evaluations: int | None = None
    """Stop when so many programs were evaluated; None: when all proposals are made."""
    rungs: tuple[tuple[int, ...], ...] = ((0,),)
    """The seeds to train on, see `judge.Job`."""
    hurdles: tuple[float, ...] = ()
    """For each rung but the first, the share of the last programs that a program must beat to be
    trained on it, see `hurdles.py`."""
    mutations: tuple[str, ...] = ()
    """What to draw from, uniformly, so a name may stand there several times; by default, what
    the strategy draws from."""
    leaders: int = 10
    """How many of the best distinct programs to keep for re-scoring."""
    stage: str = ""
    """What commits call this search; by default its strategy."""


@dataclass(frozen=True, slots=True)
class Leader:
    """One of the best distinct programs."""

    rank: Rank
    id: ProposalId
    candidate: Candidate


@dataclass(frozen=True)
class Progress:
    """Counts so far."""

    programs: int
    evaluations: int
    invalid: int
    best: float
    redundant_fraction: float
    """The share of dead statements in the population's last programs."""

    @property
    def cache_hits(self) -> int:
        """Proposals that needed no evaluation."""
        return self.programs - self.evaluations

    @property
    def hit_rate(self) -> float:
        """The share of proposals that needed no evaluation."""
        return self.cache_hits / self.programs if self.programs else 0.0


@dataclass(frozen=True)
class SearchResult:
    """What a search found, by the fitness it saw: to be re-scored before anyone believes it."""

    progress: Progress
    leaders: tuple[Leader, ...]


@dataclass
class Knowledge:
    """What a run knows of programs, shared by its searches; keys are hashes."""

    estimates: dict[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    """Of every program judged so far, before a kill too: one for each rung that it reached."""
    borrowed: set[str] = field(default_factory=set[str])
    """Those of them that an earlier run judged: no evaluations of this one."""
    seen: set[str] = field(default_factory=set[str])
    """What searches have asked for since the run began, in the order of its proposals."""
    lookup: Callable[[str], Outcome | None] = lambda key: None
    """What earlier runs found, see `cache.py`."""
    found: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    """What was looked up, until it is committed."""


class Search:
    """One search under way."""

    def __init__(
        self,
        initial: Candidate,
        engine: Engine,
        settings: SearchSettings,
        space: Space,
        on_commit: Callable[[Commit], None],
        knowledge: Knowledge,
        baseline: tuple[float, ...] = (),
    ) -> None:
        """Nothing is evaluated before the first of its `steps`.

        Args:
            initial: the warm start.
            engine: judges programs.
            settings: sizes and seed.
            space: the programs to propose.
            on_commit: called once for each commit, in order.
            knowledge: what is known, and what this search adds to.
            baseline: scores of the run's initial program on all seeds, see `judge.estimate`.
        """
        self.engine, self.settings, self.space = engine, settings, space
        self.on_commit, self.knowledge, self.baseline = on_commit, knowledge, baseline
        self.stage = settings.stage or settings.strategy
        self.waiting: deque[tuple[int, int, Proposal]] = deque()
        self.recent: deque[tuple[int, int]] = deque(maxlen=settings.population)
        self.committed: set[str] = set()
        self.invalid = self.made = self.evaluations = 0
        self.stopped = False
        self.leaders: dict[str, Leader] = {}
        self.hurdles = Hurdles(settings.hurdles, settings.population)
        self.rng = random.Random()
        self.initial = initial

    def run(self) -> SearchResult:
        """Take all steps."""
        take_turns([self])
        return self.result()

    def steps(self) -> Iterator[None]:
        """Commit the initial program, then make and commit all proposals, one in each step."""
        settings = self.settings
        self._request(self.initial)
        rank = self._commit(INITIAL, None, Proposal(self.initial, "initial", 0))
        population = Population(Member(INITIAL, self.initial.genome, rank), settings.population)
        named = [(name, BY_NAME[name]) for name in settings.mutations]
        mutations = named or MUTATIONS[settings.strategy]
        for number in range(settings.programs):
            if len(self.waiting) == settings.lag:
                self._commit_next(population)
            if self.stopped:
                break
            if settings.evaluations is not None and self.evaluations >= settings.evaluations:
                break
            self.rng.seed((settings.seed << 64) | number)
            parent = population.tournament(self.rng, settings.tournament)
            proposal = propose(parent.genome, self.rng, mutations, self.space)
            self.evaluations += self._request(proposal.candidate)
            self.waiting.append((number, parent.number, proposal))
            self.made += 1
            yield
        while self.waiting:
            self._commit_next(population)
            yield

    def result(self) -> SearchResult:
        """What was found so far."""
        leaders = sorted(self.leaders.values(), key=lambda one: one.rank, reverse=True)
        return SearchResult(self.progress(), tuple(leaders))

    def stop(self) -> None:
        """Make no more proposals; those under way are committed."""
        self.stopped = True

    @property
    def leader(self) -> Leader:
        """The best so far as a search ranks programs, of equal ones the earliest."""
        return max(self.leaders.values(), key=lambda one: (one.rank, -one.id.number))

    def progress(self) -> Progress:
        """The counts now."""
        statements = sum(total for total, _ in self.recent)
        live = sum(live for _, live in self.recent)
        return Progress(
            programs=self.made,
            evaluations=self.evaluations,
            invalid=self.invalid,
            best=max((leader.rank for leader in self.leaders.values()), default=(0, FAILED))[1],
            redundant_fraction=1 - live / statements if statements else 0.0,
        )

    def _request(self, candidate: Candidate) -> bool:
        """Have the candidate judged, unless its key is known; whether that is an evaluation."""
        key, known = candidate.key, self.knowledge
        if key in known.seen:
            return False
        known.seen.add(key)
        if key in known.estimates:
            return key not in known.borrowed
        found = known.lookup(key)
        if found is not None:
            known.found[key] = found
            known.borrowed.add(key)
            return False
        settings = self.settings
        program = self.space.executed(candidate.program)
        self.engine.submit(Job(key, program, settings.rungs, self.hurdles.floors(), self.baseline))
        return True

    def _commit_next(self, population: Population) -> None:
        number, parent, proposal = self.waiting.popleft()
        rank = self._commit(number, parent, proposal)
        population.add(Member(number, proposal.candidate.genome, rank))

    def _commit(self, number: int, parent: int | None, proposal: Proposal) -> Rank:
        candidate = proposal.candidate
        key, judged = candidate.key, None
        known = self.knowledge.estimates
        if key not in known:
            borrowed = self.knowledge.found.pop(key, None)
            outcome = borrowed or self.engine.result(key)
            known[key] = estimates(outcome.validation, self.baseline, self.settings.rungs)
            judged = Judged(print_program(candidate.program), outcome, borrowed is not None)
        if key not in self.committed:
            self.committed.add(key)
            self.hurdles.add(known[key])
        rank = rank_of(known[key])
        total, live = len(candidate.genome.statements), live_statements(candidate.genome)
        self.recent.append((total, live))
        self.invalid += proposal.invalid
        self._lead(Leader(rank, ProposalId(self.stage, number), candidate))
        commit = Commit(
            self.stage,
            number,
            parent,
            proposal.mutation,
            proposal.invalid,
            total,
            live,
            key,
            known[key][-1],
            judged,
        )
        self.on_commit(commit)
        return rank

    def _lead(self, leader: Leader) -> None:
        """Keep the best distinct programs, of equal ones the earliest."""
        key = leader.candidate.key
        if key in self.leaders:
            return
        if len(self.leaders) < self.settings.leaders:
            self.leaders[key] = leader
            return
        worst = min(self.leaders.values(), key=lambda one: (one.rank, -one.id.number))
        if leader.rank > worst.rank:
            del self.leaders[worst.candidate.key]
            self.leaders[key] = leader


def take_turns(searches: Sequence[Search]) -> None:
    """Run all searches to their ends, one step of each at a time."""
    turns = [search.steps() for search in searches]
    while turns:
        turns = [steps for steps in turns if next(steps, _ENDED) is not _ENDED]


_ENDED = object()
