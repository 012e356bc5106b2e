"""Recipes of the search beside each other, at equal evaluations: the table of docs/search.md.

    python benchmarks/recipes.py [--json] [--evaluations 1500] [--seeds 2] [--task digits_mlp]

Each search starts from the AdamW of `optdsl evolve`; its leaders are chosen on fresh seeds and
reported on others, on held-out test data. `ratio` is the mean score of tuning over that of the
default recipe; scores are below 0, so more than 1 means that the recipe is better.
"""

import argparse
import json
import os
import statistics

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

from optdsl.evolve.config import PAPER, RECIPES, Recipe, rungs
from optdsl.evolve.driver import Knowledge, Search, SearchSettings
from optdsl.evolve.engines.serial import SerialEngine
from optdsl.evolve.genome import from_program
from optdsl.evolve.judge import Job, JudgeSpec, Score, judge
from optdsl.evolve.proposals import Candidate, Space, check
from optdsl.evolve.rescore import CHOICE_SEEDS, REPORT_SEEDS, best_of, report
from optdsl.frontend import find_source, load
from optdsl.ops import FunctionSet, functions
from optdsl.resources import search_start
from optdsl.tasks.table import TaskSource

TUNE = ("tune",)
SPACE = Space(functions(FunctionSet.PAPER))
TRIED: dict[str, Recipe] = {
    "tune": Recipe(100, 2, TUNE, (1, 3, 8), (0.5, 0.98)),
    "tune, harder selection": Recipe(50, 5, TUNE, (1, 3, 8), (0.5, 0.98)),
    "paper": RECIPES["paper"],
    "hurdles": Recipe(200, 2, PAPER, (1, 3, 8), (0.5, 0.98)),
    "one share of constants": Recipe(100, 3, PAPER + TUNE, (1, 3, 8), (0.5, 0.98)),
    "three shares of constants": Recipe(100, 3, PAPER + 3 * TUNE, (1, 3, 8), (0.5, 0.98)),
    "three seeds, no hurdles": Recipe(100, 3, PAPER + 3 * TUNE, (3,), ()),
    "default": RECIPES["default"],
}


def scores(spec: JudgeSpec, candidate: Candidate, seeds: tuple[int, ...]) -> tuple[Score, ...]:
    """A program's scores on all seeds."""
    return judge(spec, Job("", SPACE.executed(candidate.program), (seeds,))).on_all(seeds)


def search(spec: JudgeSpec, recipe: Recipe, evaluations: int, seed: int) -> float:
    """The test score of what one search finds."""
    initial = check(from_program(load(find_source(str(search_start())))))
    assert initial is not None
    settings = SearchSettings(
        "evolution", 10**9, recipe.population, recipe.tournament, seed, evaluations=evaluations,
        rungs=rungs(recipe.seeds), hurdles=recipe.hurdles, mutations=recipe.mutations,
    )  # fmt: skip
    baseline = tuple(v for v, _ in scores(spec, initial, tuple(range(recipe.seeds[-1]))))
    engine = SerialEngine(spec)
    found = Search(initial, engine, settings, SPACE, lambda _: None, Knowledge(), baseline).run()
    leaders = [leader.candidate for leader in found.leaders]
    chosen = leaders[best_of([scores(spec, one, CHOICE_SEEDS) for one in leaders])]
    return report(scores(spec, chosen, REPORT_SEEDS)).test_fitness


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--task", default="digits_mlp")
    parser.add_argument("--evaluations", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    spec = JudgeSpec(TaskSource(options.task), 1.0, "bytecode")
    test = {
        name: [search(spec, recipe, options.evaluations, s) for s in range(1, options.seeds + 1)]
        for name, recipe in TRIED.items()
    }
    ratio = statistics.fmean(test["tune"]) / statistics.fmean(test["default"])
    if options.json:
        print(json.dumps({"ratio": ratio, "test": test, **vars(options)}))
        return
    print(f"ratio {ratio:.3f}")
    for name, values in test.items():
        print(f"{name:<28} {'  '.join(f'{value:.4f}' for value in values)}")


if __name__ == "__main__":
    main()
