"""The three levels of cache keys on the same proposals: hits, false merges, missed merges, time.

    python benchmarks/cache.py [--json] [--task digits_mlp] [--programs 5000]

One evolution with structural keys makes the proposals; each of its distinct programs is trained on
one seed. Then, for each level: `hit_rate` is the share of proposals whose key was seen before;
`false_merges`, the share of hits where the program that was trained first has a validation score
that differs by more than 1e-3 of it (rounding alone stays below); `missed_merges`, the share of
trained programs that trained to the very score, on validation and on test, of an earlier one with
another key. Seconds: without a cache, every proposal costs what its program took to train; with
it, only the first with each key does, and every proposal its hash. `ratio` is without over with,
for the structural level.
"""

import argparse
import json
import math
import os
from time import perf_counter

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
from figures import start

from optdsl.evolve.config import RECIPES
from optdsl.evolve.driver import Knowledge, Search, SearchSettings
from optdsl.evolve.engines.serial import SerialEngine
from optdsl.evolve.judge import Job, JudgeSpec, Outcome, warm_up
from optdsl.evolve.proposals import KEYS, Space
from optdsl.evolve.store import Commit
from optdsl.ir import Program
from optdsl.ops import FunctionSet, functions
from optdsl.tasks.table import TaskSource

NOISE = 1e-3


class Recording(SerialEngine):
    """Keeps the programs and their outcomes."""

    def __init__(self, spec: JudgeSpec) -> None:
        super().__init__(spec)
        self.programs: dict[str, Program] = {}
        self.outcomes: dict[str, Outcome] = {}

    def submit(self, job: Job) -> None:
        self.programs[job.key] = job.program
        super().submit(job)

    def result(self, key: str) -> Outcome:
        self.outcomes[key] = super().result(key)
        return self.outcomes[key]


def proposals(task: str, programs: int) -> tuple[list[str], Recording]:
    """The structural key of each proposal, and what is known of the keys."""
    spec = JudgeSpec(TaskSource(task), 1.0, "bytecode")
    warm_up(spec)
    engine, commits = Recording(spec), list[Commit]()
    recipe = RECIPES["default"]
    settings = SearchSettings(
        "evolution", programs, recipe.population, recipe.tournament, mutations=recipe.mutations
    )
    space = Space(functions(FunctionSet.PAPER))
    Search(start(), engine, settings, space, commits.append, Knowledge()).run()
    return [commit.key for commit in commits], engine


def differ(a: Outcome, b: Outcome) -> bool:
    """Whether two outcomes differ beyond rounding."""
    (x, _), (y, _) = a.scores[0], b.scores[0]
    return not (x == y or math.isclose(x, y, rel_tol=NOISE))


def level(name: str, made: list[str], engine: Recording) -> dict[str, float]:
    """The figures of one level."""
    began = perf_counter()
    keys = {one: KEYS[name](program) for one, program in engine.programs.items()}
    hashing = (perf_counter() - began) / len(keys)
    first: dict[str, str] = {}
    false = hits = 0
    spent = saved = 0.0
    for one in made:
        seconds = engine.outcomes[one].seconds
        saved += seconds
        if keys[one] in first:
            hits += 1
            false += differ(engine.outcomes[first[keys[one]]], engine.outcomes[one])
        else:
            first[keys[one]] = one
            spent += seconds
    scores: dict[tuple[float, float], str] = {}
    trained = missed = 0
    for one, outcome in engine.outcomes.items():
        if math.isfinite(outcome.scores[0][0]) and first[keys[one]] == one:
            trained += 1
            missed += scores.setdefault(outcome.scores[0], keys[one]) != keys[one]
    return {
        "hit_rate": hits / len(made),
        "false_merges": false / hits,
        "missed_merges": missed / trained,
        "seconds_without": saved,
        "seconds_with": spent + hashing * len(made),
        "hash_microseconds": 1e6 * hashing,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--task", default="digits_mlp")
    parser.add_argument("--programs", type=int, default=5000)
    options = parser.parse_args()
    made, engine = proposals(options.task, options.programs)
    levels = {name: level(name, made, engine) for name in KEYS}
    structural = levels["structural"]
    result = {
        "ratio": structural["seconds_without"] / structural["seconds_with"],
        "levels": levels,
        "evaluations": len(engine.outcomes),
        "jax": jax.__version__,
        **vars(options),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"ratio {result['ratio']:.2f}, {result['evaluations']} evaluations")
    for name, figures in levels.items():
        print(name, {key: round(value, 5) for key, value in figures.items()})


if __name__ == "__main__":
    main()
