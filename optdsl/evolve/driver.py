"""The search loop: numbered proposals, commits in their order, a cache by hash.

Proposal i is made from the population as it stood after commit i - lag, with randomness from
(seed, i) alone. So a run is a pure function of its configuration, its task and its initial program,
however many evaluations are under way at once.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from optdsl.evolve.engine import Engine
from optdsl.evolve.mutations import MUTATIONS
from optdsl.evolve.population import Member, Population
from optdsl.evolve.proposals import Candidate, Proposal, propose
from optdsl.evolve.store import Commit
from optdsl.ir import Program, print_program
from optdsl.ops import OpDef
from optdsl.passes.live import live_values

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
    """Stop when so many proposals were evaluated; None: when all proposals are made."""
    leaders: int = 10
    """How many of the best distinct programs to keep for re-scoring."""


@dataclass(frozen=True, slots=True)
class Leader:
    """One of the best distinct programs."""

    fitness: float
    number: int
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


class Search:
    """One search under way."""

    def __init__(
        self,
        initial: Candidate,
        engine: Engine,
        settings: SearchSettings,
        functions: Sequence[OpDef],
        on_commit: Callable[[Commit], None],
        cache: dict[str, float],
    ) -> None:
        """Nothing is evaluated before `run`.

        Args:
            initial: the warm start.
            engine: evaluates programs.
            settings: sizes and seed.
            functions: what mutations draw from.
            on_commit: called once for each commit, in order.
            cache: fitness by key; may hold what other searches of the same run found.
        """
        self.engine, self.settings, self.functions = engine, settings, functions
        self.on_commit, self.cache = on_commit, cache
        self.submitted: set[str] = set()
        self.waiting: deque[tuple[int, Proposal]] = deque()
        self.recent: deque[tuple[int, int]] = deque(maxlen=settings.population)
        self.invalid = self.made = self.evaluations = 0
        self.leaders: dict[str, Leader] = {}
        self.rng = random.Random()
        self.initial = initial

    def run(self) -> SearchResult:
        """Commit the initial program, then make and commit all proposals."""
        settings = self.settings
        self._request(self.initial)
        fitness = self._commit(INITIAL, None, Proposal(self.initial, "initial", 0))
        population = Population(Member(INITIAL, self.initial.genome, fitness), settings.population)
        parents: deque[int] = deque()
        for number in range(settings.programs):
            if len(self.waiting) == settings.lag:
                self._commit_next(population, parents)
            if settings.evaluations is not None and self.evaluations >= settings.evaluations:
                break
            self.rng.seed((settings.seed << 64) | number)
            parent = population.tournament(self.rng, settings.tournament)
            mutations = MUTATIONS[settings.strategy]
            proposal = propose(parent.genome, self.rng, mutations, self.functions)
            self.evaluations += self._request(proposal.candidate)
            self.waiting.append((number, proposal))
            parents.append(parent.number)
            self.made += 1
        while self.waiting:
            self._commit_next(population, parents)
        leaders = sorted(self.leaders.values(), key=lambda one: (-one.fitness, one.number))
        return SearchResult(self.progress(), tuple(leaders))

    def progress(self) -> Progress:
        """The counts now."""
        statements = sum(total for total, _ in self.recent)
        live = sum(live for _, live in self.recent)
        return Progress(
            programs=self.made,
            evaluations=self.evaluations,
            invalid=self.invalid,
            best=max((leader.fitness for leader in self.leaders.values()), default=float("-inf")),
            redundant_fraction=1 - live / statements if statements else 0.0,
        )

    def _request(self, candidate: Candidate) -> bool:
        """Have the candidate evaluated, unless its key was seen before; whether it was not."""
        key = candidate.key
        if key in self.cache or key in self.submitted:
            return False
        self.engine.submit(key, candidate.program)
        self.submitted.add(key)
        return True

    def _commit_next(self, population: Population, parents: deque[int]) -> None:
        number, proposal = self.waiting.popleft()
        fitness = self._commit(number, parents.popleft(), proposal)
        population.add(Member(number, proposal.candidate.genome, fitness))

    def _commit(self, number: int, parent: int | None, proposal: Proposal) -> float:
        candidate = proposal.candidate
        key, text = candidate.key, None
        if key not in self.cache:
            self.cache[key] = self.engine.result(key)
            text = print_program(candidate.program)
        fitness = self.cache[key]
        total, live = len(candidate.genome.statements), live_statements(candidate.program)
        self.recent.append((total, live))
        self.invalid += proposal.invalid
        self._lead(Leader(fitness, number, candidate))
        commit = Commit(
            self.settings.strategy,
            number,
            parent,
            proposal.mutation,
            proposal.invalid,
            total,
            live,
            key,
            fitness,
            text,
        )
        self.on_commit(commit)
        return fitness

    def _lead(self, leader: Leader) -> None:
        """Keep the best distinct programs, of equal ones the earliest."""
        key = leader.candidate.key
        if key in self.leaders:
            return
        if len(self.leaders) < self.settings.leaders:
            self.leaders[key] = leader
            return
        worst = min(self.leaders, key=lambda k: (self.leaders[k].fitness, -self.leaders[k].number))
        if leader.fitness > self.leaders[worst].fitness:
            del self.leaders[worst]
            self.leaders[key] = leader


def live_statements(program: Program) -> int:
    """How many statements the update depends on."""
    return sum(live_values(program)[len(program.inputs) :])
