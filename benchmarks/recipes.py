"""Recipes of the search beside each other, at equal evaluations: the table of docs/search.md.

    python benchmarks/recipes.py [--json] [--evaluations 4000] [--seeds 2] [--task digits_mlp]
                                 [--only NAME ...]

Each search starts from the AdamW of `optdsl evolve`; where a recipe tunes it first, these
evaluations count too. Leaders are chosen on fresh seeds and reported on others, on held-out test
data. `ratio` is the mean score of tuning over that of the default recipe; scores are below 0, so
more than 1 means that the recipe is better. `trainings` are of all seeds, in those of one seed.
"""

import argparse
import json
import os
import statistics
import sys
import time
from dataclasses import dataclass, replace

os.environ.setdefault("NPROC", "1")  # as in a search's workers
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

from optdsl.evolve.config import (
    PAPER,
    RECIPES,
    TUNE_POPULATION,
    TUNE_TOURNAMENT,
    Recipe,
    rungs,
)
from optdsl.evolve.driver import Knowledge, Search, SearchSettings
from optdsl.evolve.engines.serial import SerialEngine
from optdsl.evolve.genome import from_program
from optdsl.evolve.judge import Job, JudgeSpec, Outcome, Score, judge
from optdsl.evolve.proposals import Candidate, Space, check
from optdsl.evolve.rescore import CHOICE_SEEDS, REPORT_SEEDS, best_of, report
from optdsl.frontend import find_source, load
from optdsl.ops import FunctionSet, functions
from optdsl.resources import search_start
from optdsl.tasks.table import read_task

SPACE = Space(functions(FunctionSet.PAPER))
DEFAULT = RECIPES["default"]
TUNE = ("tune",)
TRIED: dict[str, Recipe] = {
    "tune": replace(DEFAULT, tuned_share=1.0),
    "paper": RECIPES["paper"],
    "default": DEFAULT,
    "not tuned first": replace(DEFAULT, tuned_share=0.0),
    "one share of constants in ten": replace(DEFAULT, mutations=3 * PAPER + TUNE),
    "one share of constants in four": replace(DEFAULT, mutations=PAPER + TUNE),
    "population 50": replace(DEFAULT, population=50),
    "population 1000": replace(DEFAULT, population=1000),
    "tournament 10": replace(DEFAULT, tournament=10),
    "one seed": replace(DEFAULT, seeds=(1,), hurdles=()),
    "five seeds": replace(DEFAULT, seeds=(5,), hurdles=()),
    "a quarter goes on": replace(DEFAULT, hurdles=(0.75, 0.75, 0.75)),
}


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


def scores(spec: JudgeSpec, candidate: Candidate, seeds: tuple[int, ...]) -> tuple[Score, ...]:
    """A program's scores on all seeds."""
    return judge(spec, Job("", SPACE.executed(candidate.program), (seeds,))).on_all(seeds)


def search(spec: JudgeSpec, recipe: Recipe, evaluations: int, seed: int) -> Result:
    """Tune first, if the recipe does, and go on from the best."""
    began = time.perf_counter()
    initial = check(from_program(load(find_source(str(search_start())))))
    assert initial is not None
    baseline = tuple(v for v, _ in scores(spec, initial, tuple(range(recipe.seeds[-1]))))
    engine, knowledge = Counting(spec), Knowledge()
    tuning = round(recipe.tuned_share * evaluations)
    stages = (
        (tuning, TUNE, TUNE_POPULATION, TUNE_TOURNAMENT),
        (evaluations - tuning, recipe.mutations, recipe.population, recipe.tournament),
    )
    best, found = initial, [initial]
    made = spent = 0
    for number, (budget, mutations, population, tournament) in enumerate(stages):
        if not budget:
            continue
        settings = SearchSettings(
            "evolution", 10**9, population, tournament, 2 * seed + number, evaluations=budget,
            rungs=rungs(recipe.seeds), hurdles=recipe.hurdles, mutations=mutations,
        )  # fmt: skip
        result = Search(best, engine, settings, SPACE, lambda _: None, knowledge, baseline).run()
        found += [leader.candidate for leader in result.leaders]
        best = found[best_of([scores(spec, one, CHOICE_SEEDS) for one in found])]
        made += result.progress.programs
        spent += result.progress.evaluations
    last = report(scores(spec, best, REPORT_SEEDS))
    seconds = time.perf_counter() - began
    return Result(last.test_fitness, last.fitness, 1 - spent / made, engine.trainings, seconds)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--task", default="digits_mlp")
    parser.add_argument("--evaluations", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=TRIED, default=list(TRIED))
    options = parser.parse_args()
    spec = JudgeSpec(read_task(options.task), 1.0, "bytecode")
    test: dict[str, list[float]] = {}
    for name in options.only:
        for seed in range(1, options.seeds + 1):
            found = search(spec, TRIED[name], options.evaluations, seed)
            test.setdefault(name, []).append(found.test)
            print(
                f"{name:<28} seed {seed}: test {found.test:.4f}, validation {found.validation:.4f},"
                f" {found.hit_rate:.0%} from cache, {found.trainings} trainings,"
                f" {found.seconds:.0f} s",
                file=sys.stderr,
            )
    means = {name: statistics.fmean(values) for name, values in test.items()}
    ratio = means["tune"] / means["default"] if {"tune", "default"} <= set(means) else None
    if options.json:
        print(json.dumps({"ratio": ratio, "test": test, **vars(options)}))
        return
    print(f"ratio {ratio}")
    for name, values in test.items():
        print(f"{name:<28} {'  '.join(f'{value:.4f}' for value in values)}")


if __name__ == "__main__":
    main()
