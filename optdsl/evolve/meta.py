"""Whether a search's finds are better on a larger task too: section 2.3 of the paper, Figure 3.

A search that goes on long enough overfits its task: its best fitness rises, while the same programs
get worse elsewhere. So its leader, the best program at the time, is judged now and then on a meta
task, on seeds of its own. Nothing is selected by that; it is a curve to look at, and a warning.

The leader is looked at after fixed numbers of programs, and its scores are asked for at the next
look. So workers go on meanwhile, and a run stays a function of its configuration.
"""

import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from optdsl.evolve.config import LOOKS, RunConfig
from optdsl.evolve.driver import Leader, Search
from optdsl.evolve.engines import Engine, EngineError
from optdsl.evolve.judge import Job, JudgeSpec, Score
from optdsl.evolve.proposals import Space
from optdsl.evolve.store import StoreError, scores_from_json, scores_to_json
from optdsl.tasks.scores import FAILED, mean_score
from optdsl.tasks.statistics import LEVEL, WORSE, difference, standard_error

META_SEEDS = tuple(range(3_000, 3_008))
"""Seeds of the meta task."""

FALL_LEVEL = 1 - (1 - LEVEL) / math.comb(LOOKS + 1, 2)
"""The confidence of one comparison: with it, no two of so many leaders that are equal on the meta
task look different by chance (Bonferroni), in LEVEL of all searches."""


@dataclass(frozen=True, slots=True)
class Point:
    """A leader on the meta task, from when it was first looked at."""

    stage: str
    programs: int
    """How many its search had made."""
    fitness: float
    """The search's own."""
    validation: tuple[float, ...]
    """Scores on the meta task, one for each of META_SEEDS."""

    @property
    def meta_fitness(self) -> float:
        """Their mean; FAILED if training diverged."""
        return mean_score(self.validation)

    @property
    def meta_error(self) -> float:
        """Their mean's standard error; NaN if training diverged."""
        return standard_error(self.validation)

    def to_json(self) -> dict[str, object]:
        """An entry of `meta` of `evolve --json` and `report --json`."""
        return {
            "stage": self.stage,
            "programs": self.programs,
            "fitness": self.fitness,
            "meta_fitness": self.meta_fitness,
            "meta_standard_error": self.meta_error,
        }


@dataclass(frozen=True, slots=True)
class Fall:
    """A leader that is better than an earlier one in the search and worse on the meta task."""

    before: Point
    after: Point

    def to_json(self) -> dict[str, object]:
        """An entry of `meta_warnings`."""
        before = self.before.to_json()
        del before["stage"]
        return self.after.to_json() | {"before": before}


def fall(points: Sequence[Point]) -> Fall | None:
    """The fall that the last of a search's points is, from the best of those it fell from."""
    if not points:
        return None
    *earlier, last = points
    above = [one for one in earlier if _fell(one, last)]
    best = max(above, key=lambda one: one.meta_fitness, default=None)
    return None if best is None else Fall(best, last)


def _fell(before: Point, after: Point) -> bool:
    if after.fitness <= before.fitness or FAILED in before.validation:
        return False
    if FAILED in after.validation:
        return True
    return difference(after.validation, before.validation, FALL_LEVEL).verdict == WORSE


def falls(points: Sequence[Point]) -> list[Fall]:
    """The first fall of each search that has one.

    Args:
        points: of a run, those of a search together and in their order.
    """
    found: list[Fall] = []
    for _, group in groupby(points, key=lambda one: one.stage):
        mine = list(group)
        looks = (fall(mine[:count]) for count in range(1, len(mine) + 1))
        found += [one for one in looks if one is not None][:1]
    return found


def points(db: sqlite3.Connection) -> Iterator[Point]:
    """All of a run, search by search.

    Raises:
        StoreError: if there are no scores where they should be.
    """
    query = (
        "SELECT stage, meta_scores.programs, fitness, meta_scores.scores FROM meta_scores"
        " JOIN programs USING (key) JOIN stages USING (stage) ORDER BY position, 2"
    )
    for stage, made, fitness, scores in db.execute(query):
        yield Point(stage, made, fitness, _validation(_read(scores)))


class Watch:
    """Follows the leader of one search."""

    def __init__(
        self,
        stage: str,
        config: RunConfig,
        spec: JudgeSpec,
        engine: Engine,
        db: sqlite3.Connection,
        space: Space,
        on_fall: Callable[[Fall], None],
    ) -> None:
        """Nothing is judged before the first `see`.

        Args:
            stage: the search's name.
            config: the run's.
            spec: the meta task's.
            engine: judges the leaders.
            db: the run's database.
            space: what the search's programs are from.
            on_fall: called at the search's first fall.
        """
        self._stage, self._every, self._stops = stage, config.meta_every, config.meta_stop
        self._spec, self._engine, self._db = spec, engine, db
        self._space, self._on_fall = space, on_fall
        self._under_way: tuple[int, Leader] | None = None
        self._key, self._points = "", list[Point]()
        self._fallen = False

    def see(self, programs: int, search: Search) -> None:
        """Called after each commit: every so often, a look; it may stop the search.

        Raises:
            EngineError: if the first leader of all can't be judged.
        """
        if programs % self._every or search.stopped:
            return
        self._collect()
        if self._fallen and self._stops:
            search.stop()
        else:
            self._look(programs, search.leader)

    def finish(self, search: Search) -> None:
        """The last look, at the leader in the end.

        Raises:
            EngineError: as `see` does.
        """
        if not search.stopped:
            self._collect()
            self._look(search.made, search.leader)
            self._collect()

    def _look(self, programs: int, leader: Leader) -> None:
        candidate = leader.candidate
        if candidate.key == self._key:
            return
        self._key, self._under_way = candidate.key, (programs, leader)
        if self._known(candidate.key) is None:
            program = self._space.executed(candidate.program)
            self._engine.submit(Job(self._job, program, (META_SEEDS,), spec=self._spec))

    def _collect(self) -> None:
        """The point of the last look, if the leader was another than before."""
        if self._under_way is None:
            return
        programs, leader = self._under_way
        self._under_way = None
        scores = self._known(self._key)
        if scores is None:
            scores = self._judged()
        row = (self._stage, programs, self._key, scores_to_json(scores))
        self._db.execute("INSERT INTO meta_scores VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row)
        _, fitness = leader.rank
        self._points.append(Point(self._stage, programs, fitness, _validation(scores)))
        found = fall(self._points)
        if found is not None and not self._fallen:
            self._fallen = True
            self._on_fall(found)

    def _judged(self) -> tuple[Score, ...]:
        outcome = self._engine.result(self._job)
        (known,) = self._db.execute("SELECT count(*) FROM meta_scores").fetchone()
        if outcome.failure and not known:
            raise EngineError(f"the meta task can't be trained: {outcome.failure}")
        return outcome.on_all(META_SEEDS)

    @property
    def _job(self) -> str:
        """What the leader's scores are asked for by: another search may have the same leader."""
        return f"meta {self._stage} {self._key}"

    def _known(self, key: str) -> tuple[Score, ...] | None:
        """What is known of a leader, of this search or of one before."""
        query = "SELECT scores FROM meta_scores WHERE key = ? LIMIT 1"
        row = self._db.execute(query, (key,)).fetchone()
        return None if row is None else _read(row[0])


def _read(text: str) -> tuple[Score, ...]:
    scores = scores_from_json(text)
    if len(scores) != len(META_SEEDS):
        raise StoreError(f"the database is damaged: there are no scores in {text}")
    return scores


def _validation(scores: Sequence[Score]) -> tuple[float, ...]:
    return tuple(validation for validation, _ in scores)
