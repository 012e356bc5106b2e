"""Recipes of the search beside each other, at equal evaluations: the table of docs/search.md.

    python benchmarks/recipes.py [--json] [--evaluations 4000] [--seeds 2] [--task digits_mlp]
                                 [--only NAME ...] [--also TASK ...]

Each search starts from the AdamW of `optdsl evolve`; where a recipe tunes it first, these
evaluations count too. Leaders are chosen on fresh seeds and reported on others, on held-out test
data. `ratio` is what the default recipe gains over the initial program, as a multiple of what
tuning gains. `trainings` are of all seeds, in those of one seed. Recipes are compared with the
default seed by seed: how many searches ended better, and a two-sided p (Wilcoxon's signed ranks).
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from unittest.mock import patch

os.environ.setdefault("NPROC", "1")  # as in a search's workers
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import numpy as np
from figures import gain_ratio, start
from scipy.stats import wilcoxon

from optdsl.evolve import judge as judging
from optdsl.evolve import mutations
from optdsl.evolve.config import (
    PAPER,
    RECIPES,
    TUNE_POPULATION,
    TUNE_TOURNAMENT,
    Recipe,
    rungs,
)
from optdsl.evolve.driver import Knowledge, Search, SearchSettings, take_turns
from optdsl.evolve.engines.serial import SerialEngine
from optdsl.evolve.judge import Job, JudgeSpec, Outcome, Score, judge
from optdsl.evolve.judge import estimate as mean_estimate
from optdsl.evolve.population import Member, Population
from optdsl.evolve.proposals import Candidate, Space
from optdsl.evolve.rescore import CHOICE_SEEDS, REPORT_SEEDS, best_of, report
from optdsl.evolve.store import Commit
from optdsl.ops import FunctionSet, functions
from optdsl.tasks.scores import FAILED
from optdsl.tasks.table import read_task

SPACE = Space(functions(FunctionSet.PAPER))
DEFAULT = RECIPES["default"]
TUNE = ("tune",)
ONE_IN_TEN = replace(DEFAULT, mutations=3 * PAPER + TUNE)

Estimate = Callable[[Sequence[float], Sequence[float]], float]


def quantile_estimate(share: float) -> Estimate:
    """A quantile of the gains over the initial program, seed by seed, in place of their mean."""

    def estimate(scores: Sequence[float], baseline: Sequence[float]) -> float:
        mean = mean_estimate(scores, baseline)
        if mean == FAILED or len(baseline) < len(scores) or FAILED in baseline:
            return mean
        gains = [score - other for score, other in zip(scores, baseline, strict=False)]
        return statistics.fmean(baseline) + float(np.quantile(gains, share))

    return estimate


TIE = 1e-3
"""The most that the mean of the gains counts beside the share of seeds won: less than a seed."""


def wins(scores: Sequence[float], baseline: Sequence[float]) -> float:
    """The share of seeds on which a program beats the initial one; ties go by the mean gain."""
    mean = mean_estimate(scores, baseline)
    if mean == FAILED or len(baseline) < len(scores) or FAILED in baseline:
        return mean
    gain = mean - statistics.fmean(baseline)
    won = [score > other for score, other in zip(scores, baseline, strict=False)]
    return statistics.fmean(won) + TIE * gain / (1 + abs(gain))


@dataclass(frozen=True)
class Tried:
    """What is measured."""

    recipe: Recipe
    islands: int = 1
    """Searches that take turns, share what they know, and share the evaluations."""
    migrates: bool = False
    """Whether an island takes its neighbour's leader over now and then."""
    goes_on: bool = False
    """Whether one more search, with an equal part of the evaluations, starts from the best."""
    step: float = 1.0
    """What constants are scaled by, see `mutations.SCALE_STEP`."""
    estimate: Estimate = mean_estimate
    """A program's fitness by its scores and the initial program's on the same seeds."""
    keep_lr: bool = False
    """Whether every program's update must depend on the learning rate."""


LOWEST = -1e9
"""Stands for FAILED where scores are subtracted."""

MIGRATION = 100
"""Commits of an island between two migrations."""

TRIED: dict[str, Tried] = {
    "tune": Tried(replace(DEFAULT, tuned_share=1.0)),
    "paper": Tried(RECIPES["paper"]),
    "default": Tried(DEFAULT),
    "not tuned first": Tried(replace(DEFAULT, tuned_share=0.0)),
    "one share of constants in ten": Tried(ONE_IN_TEN),
    "one share of constants in four": Tried(replace(DEFAULT, mutations=PAPER + TUNE)),
    "population 50": Tried(replace(DEFAULT, population=50)),
    "population 1000": Tried(replace(DEFAULT, population=1000)),
    "tournament 10": Tried(replace(DEFAULT, tournament=10)),
    "one seed": Tried(replace(DEFAULT, seeds=(1,), hurdles=())),
    "five seeds": Tried(replace(DEFAULT, seeds=(5,), hurdles=())),
    "tune, steps of 1/4": Tried(replace(DEFAULT, tuned_share=1.0), step=0.25),
    "tune, steps of 1/2": Tried(replace(DEFAULT, tuned_share=1.0), step=0.5),
    "tune, steps of 2": Tried(replace(DEFAULT, tuned_share=1.0), step=2.0),
    "one in ten, steps of 1/4": Tried(ONE_IN_TEN, step=0.25),
    "one in ten, steps of 1/2": Tried(ONE_IN_TEN, step=0.5),
    "one in ten, steps of 2": Tried(ONE_IN_TEN, step=2.0),
    "steps of 1/4": Tried(DEFAULT, step=0.25),
    "steps of 1/2": Tried(DEFAULT, step=0.5),
    "steps of 2": Tried(DEFAULT, step=2.0),
    "keeps lr": Tried(DEFAULT, keep_lr=True),
    "the median seed": Tried(DEFAULT, estimate=quantile_estimate(0.5)),
    "the worst quarter": Tried(DEFAULT, estimate=quantile_estimate(0.25)),
    "seeds won": Tried(DEFAULT, estimate=wins),
    "a quarter goes on": Tried(replace(DEFAULT, hurdles=(0.75, 0.75, 0.75))),
    "restarts 4": Tried(DEFAULT, islands=4, goes_on=True),
    "islands 4": Tried(replace(DEFAULT, population=50), islands=4),
    "islands 4, migrating": Tried(replace(DEFAULT, population=50), islands=4, migrates=True),
}


class Island(Search):
    """A search that takes over its neighbour's leader, if it has one, as its youngest member."""

    neighbour: Search | None = None

    def _commit_next(self, population: Population) -> None:
        super()._commit_next(population)
        if self.neighbour is not None and self.made % MIGRATION == 0 and self.neighbour.leaders:
            leader = self.neighbour.leader
            population.add(Member(leader.id.number, leader.candidate.genome, leader.rank))


class Counting(SerialEngine):
    """Counts trainings."""

    trainings = 0

    def result(self, key: str) -> Outcome:
        """See `Engine`."""
        outcome = super().result(key)
        self.trainings += len(outcome.scores)
        return outcome


@dataclass(frozen=True)
class Result:
    """What one search came to."""

    test: float
    validation: float
    hit_rate: float
    trainings: int
    seconds: float
    elsewhere: dict[str, float]
    """Test scores on other tasks."""


def scores(spec: JudgeSpec, candidate: Candidate, seeds: tuple[int, ...]) -> tuple[Score, ...]:
    """A program's scores on all seeds."""
    return judge(spec, Job("", SPACE.executed(candidate.program), (seeds,))).on_all(seeds)


@dataclass(frozen=True)
class Stage:
    """Searches side by side."""

    evaluations: int
    """Of all of them."""
    mutations: tuple[str, ...]
    population: int
    tournament: int
    islands: int = 1


def stages(tried: Tried, evaluations: int) -> list[Stage]:
    """What a search is made of, one after the other."""
    recipe = tried.recipe
    tuning = round(recipe.tuned_share * evaluations)
    left = evaluations - tuning
    last = left // (tried.islands + 1) if tried.goes_on else 0
    found = [
        Stage(tuning, TUNE, TUNE_POPULATION, TUNE_TOURNAMENT),
        Stage(left - last, recipe.mutations, recipe.population, recipe.tournament, tried.islands),
        Stage(last, recipe.mutations, recipe.population, recipe.tournament),
    ]
    return [stage for stage in found if stage.evaluations]


Watch = Callable[[Commit, Knowledge], None]
"""Called for each commit; its stage is "0", "1", ..."""


def search(
    spec: JudgeSpec,
    tried: Tried,
    evaluations: int,
    seed: int,
    watch: Watch = lambda commit, knowledge: None,
    also: Sequence[str] = (),
) -> Result:
    """Each stage goes on from the best of those before; the find is scored on other tasks too."""
    step = patch.object(mutations, "SCALE_STEP", tried.step)
    with step, patch.object(judging, "estimate", tried.estimate):
        return _search(spec, tried, evaluations, seed, watch, also)


def _search(
    spec: JudgeSpec,
    tried: Tried,
    evaluations: int,
    seed: int,
    watch: Watch,
    also: Sequence[str],
) -> Result:
    began = time.perf_counter()
    recipe, initial = tried.recipe, start()
    baseline = tuple(v for v, _ in scores(spec, initial, tuple(range(recipe.seeds[-1]))))
    engine, knowledge = Counting(spec), Knowledge()
    space = replace(SPACE, keep_lr=tried.keep_lr)
    best, found = initial, [initial]
    made = spent = 0
    for number, stage in enumerate(stages(tried, evaluations)):
        settings = SearchSettings(
            "evolution", 10**9, stage.population, stage.tournament, 2 * seed + number,
            evaluations=stage.evaluations // stage.islands,
            rungs=rungs(recipe.seeds), hurdles=recipe.hurdles, mutations=stage.mutations,
            stage=str(number),
        )  # fmt: skip
        islands = [
            Island(best, engine, one, space, lambda it: watch(it, knowledge), knowledge, baseline)
            for one in (
                replace(settings, seed=settings.seed + 1000 * i) for i in range(stage.islands)
            )
        ]
        if tried.migrates:
            for island, neighbour in zip(islands, [*islands[1:], islands[0]], strict=True):
                island.neighbour = neighbour
        take_turns(islands)
        results = [island.result() for island in islands]
        found += [leader.candidate for result in results for leader in result.leaders]
        best = found[best_of([scores(spec, one, CHOICE_SEEDS) for one in found])]
        made += sum(result.progress.programs for result in results)
        spent += sum(result.progress.evaluations for result in results)
    last = report(scores(spec, best, REPORT_SEEDS))
    seconds = time.perf_counter() - began
    others = {name: replace(spec, task=read_task(name)) for name in also}
    elsewhere = {
        name: report(scores(other, best, REPORT_SEEDS)).test_fitness
        for name, other in others.items()
    }
    hit_rate = 1 - spent / made
    return Result(last.test_fitness, last.fitness, hit_rate, engine.trainings, seconds, elsewhere)


def ratio(spec: JudgeSpec, test: dict[str, list[float]]) -> float | None:
    """The default recipe's gain over tuning's, where both were measured."""
    if not {"tune", "default"} <= set(test):
        return None
    initial = report(scores(spec, start(), REPORT_SEEDS)).test_fitness
    tuned, default = (statistics.fmean(test[name]) for name in ("tune", "default"))
    return gain_ratio(initial, default, tuned)


@dataclass(frozen=True)
class Compared:
    """A recipe beside the default, where both were measured, search by search."""

    median: float | None
    """None if at least half of the finds diverge."""
    better: int
    """Searches that ended better than the default's of the same seed."""
    worse: int
    p: float
    """Two-sided, by Wilcoxon's signed ranks; 1 if all ended alike."""


def compared(values: Sequence[float], default: Sequence[float]) -> Compared:
    """A find that diverges is worse than any other, and as good as another that does."""
    median = statistics.median(values)
    gains = [max(a, LOWEST) - max(b, LOWEST) for a, b in zip(values, default, strict=True)]
    _, p = map(float, wilcoxon(gains)) if any(gains) else (0.0, 1.0)
    better, worse = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return Compared(median if median > FAILED else None, better, worse, p)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--task", default="digits_mlp")
    parser.add_argument("--evaluations", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=TRIED, default=list(TRIED))
    parser.add_argument("--also", nargs="+", default=[], help="tasks to score the finds on too")
    options = parser.parse_args()
    spec = JudgeSpec(read_task(options.task), 1.0, "bytecode")
    test: dict[str, list[float]] = {}
    for name in options.only:
        for seed in range(1, options.seeds + 1):
            found = search(spec, TRIED[name], options.evaluations, seed, also=options.also)
            test.setdefault(name, []).append(found.test)
            others = "".join(f", on {task} {score:.4f}" for task, score in found.elsewhere.items())
            print(
                f"{name:<28} seed {seed}: test {found.test:.4f}, validation {found.validation:.4f},"
                f" {found.hit_rate:.0%} from cache, {found.trainings} trainings,"
                f" {found.seconds:.0f} s{others}",
                file=sys.stderr,
            )
    headline = ratio(spec, test)
    beside = {name: compared(values, test.get("default", values)) for name, values in test.items()}
    if options.json:
        finite = {
            name: [value if value > FAILED else None for value in values]
            for name, values in test.items()
        }
        told = {name: asdict(one) for name, one in beside.items()}
        print(json.dumps({"ratio": headline, "test": finite, "compared": told, **vars(options)}))
        return
    print(f"ratio {headline}")
    for name, values in test.items():
        print(f"{name:<28} {'  '.join(f'{value:.4f}' for value in values)}")
        one = beside[name]
        print(
            f"{'':<28} median {one.median}, better {one.better}, worse {one.worse}, p {one.p:.3f}"
        )


if __name__ == "__main__":
    main()
