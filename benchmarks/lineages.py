"""What happens inside of a search: lineages, diversity, where gains come from, what winners lose.

    python benchmarks/lineages.py [--json] [--task sparse_regression] [--evaluations 4000]
                                  [--seeds 5] [--recipe default]

Searches by a recipe of `recipes.py`, whose last stage, the evolution from the tuned start, is
looked at every 500 commits. Medians over the looks, and over the searches:

`common_ancestor`: how many commits back the last common ancestor of the population was made, over
the population's size. `distinct`: the share of the population that are different programs.
`commonest`: the share of the program that stands there most often, and `commonest_age`, how many
commits ago it was made first, over the population's size.

Gains are of the leader, the best program that was measured on all seeds, from one leader to the
next: `gains_by` each mutation, `early_gains` in the first tenth of the commits, and the `largest`
one, as shares of all, and what made that one (`largest_by`); and those of new leaders that no
longer read `lr`, or have fewer states than the one before (`losing_rate`, `losing_state`).

Of the leader after each tenth: whether it reads no `lr` (`without_rate`), how many `states` it has,
and whether the last leader stems from it (`ancestors`).

Of a sample of the programs, with their training stopped halfway or after a quarter: the rank
correlation (Spearman) with the whole training's scores, and the share of the best tenth that is
not in the better half then, or the best quarter (`stopped` by a hurdle there). `first_seeds` are
the share of all trainings that such a hurdle could shorten: each program's on its first seed.

`ratio` is `common_ancestor`: how many times the population is replaced until one lineage has taken
it over.
"""

import argparse
import heapq
import json
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import recipes  # first, since it sets flags of XLA
from scipy.stats import spearmanr

from optdsl.diagnostics import Source
from optdsl.evolve.driver import INITIAL, Knowledge
from optdsl.evolve.judge import JudgeSpec, rank_of
from optdsl.evolve.store import Commit
from optdsl.frontend import load
from optdsl.ir import Program, Role
from optdsl.passes.live import live_values, reads_numbers
from optdsl.tasks.evaluation import BytecodeEvaluator
from optdsl.tasks.scores import FAILED
from optdsl.tasks.table import read_task

EVERY = 500
"""Commits between two looks at the population."""

SAMPLE = 300
"""Programs whose trainings are stopped early."""

PARTS = {"halfway": 2, "quarter": 4}
"""What their steps are divided by."""

HURDLES = (50, 75)
"""Percentages of the programs that are not trained on."""

SINGLE = [name for name, tried in recipes.TRIED.items() if tried.islands == 1]
"""Recipes of one search at a time."""


@dataclass
class History:
    """The commits of a search's last stage, and the text of all programs."""

    commits: list[Commit] = field(default_factory=list[Commit])
    ranks: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    texts: dict[str, str] = field(default_factory=dict[str, str])

    def see(self, commit: Commit, knowledge: Knowledge) -> None:
        """Remember it; a new stage begins anew."""
        if commit.number == INITIAL:
            self.commits.clear()
            self.ranks.clear()
        self.commits.append(commit)
        self.ranks.append(rank_of(knowledge.estimates[commit.key]))
        if commit.judged is not None:
            self.texts[commit.key] = commit.judged.text

    def program(self, key: str) -> Program:
        """The program of that key."""
        return load(Source("<program>", self.texts[key]))


@dataclass(frozen=True)
class Gain:
    """From one leader to the next."""

    at: float
    """When, as a share of the commits."""
    mutation: str
    size: float
    before: str
    after: str
    """The leaders' keys."""


def common_ancestor(commits: Sequence[Commit], last: int, population: int) -> int:
    """The number of the newest program that all of the population after a commit stem from.

    Numbers begin at INITIAL, which stands at 0 in `commits`; a parent is older than its children.
    """
    newest_first = [-max(i, INITIAL) for i in range(last - population + 1, last + 1)]
    heap = sorted(set(newest_first))
    while len(heap) > 1:
        parent = commits[-heapq.heappop(heap) - INITIAL].parent
        assert parent is not None
        if -parent not in heap:
            heapq.heappush(heap, -parent)
    return -heap[0]


def looks(history: History, population: int) -> dict[str, list[float]]:
    """The population's figures every so many commits."""
    commits, found = history.commits, dict[str, list[float]]()
    born: dict[str, int] = {}
    for commit in commits:
        born.setdefault(commit.key, commit.number)
    for last in range(EVERY, len(commits) - 1, EVERY):
        keys = Counter(
            commits[max(i, INITIAL) - INITIAL].key for i in range(last - population + 1, last + 1)
        )
        (commonest, count), *_ = keys.most_common(1)
        for name, value in {
            "common_ancestor": (last - common_ancestor(commits, last, population)) / population,
            "distinct": len(keys) / population,
            "commonest": count / population,
            "commonest_age": (last - born[commonest]) / population,
        }.items():
            found.setdefault(name, []).append(value)
    return found


def gains_of(history: History, rungs: int) -> list[Gain]:
    """The leader's."""
    best, before, gains = -np.inf, "", list[Gain]()
    for commit, (reached, estimate) in zip(history.commits, history.ranks, strict=True):
        if reached == rungs and estimate > best:
            if best > -np.inf:
                at = commit.number / len(history.commits)
                gains.append(Gain(at, commit.mutation, estimate - best, before, commit.key))
            best, before = estimate, commit.key
    return gains


def leaders(history: History) -> list[Commit]:
    """The best program after each tenth of the commits."""
    best, found = 0, list[Commit]()
    for i, rank in enumerate(history.ranks):
        best = i if rank > history.ranks[best] else best
        if (i + 1) * 10 // len(history.ranks) > len(found):
            found.append(history.commits[best])
    return found


def ancestors(commits: Sequence[Commit], of: Commit) -> set[str]:
    """The keys of a commit and of all that it stems from."""
    keys = {of.key}
    while of.parent is not None:
        of = commits[of.parent - INITIAL]
        keys.add(of.key)
    return keys


def reads_rate(program: Program) -> bool:
    """Whether the update depends on the learning rate."""
    return reads_numbers(program, Role.LEARNING_RATE)


def losing(history: History, gains: Sequence[Gain], count: Callable[[Program], int]) -> float:
    """The sum of the gains whose new leader has less of something than the one before."""
    return sum(
        gain.size
        for gain in gains
        if count(history.program(gain.after)) < count(history.program(gain.before))
    )


def live_states(program: Program) -> int:
    """How many state variables the update depends on."""
    live = live_values(program)
    return sum(bool(live[i]) for i in program.states)


def stopped_early(spec: JudgeSpec, texts: Sequence[str]) -> dict[str, float]:
    """How well a part of the training tells the scores of the whole, see above."""
    task = spec.task.load()
    programs = [load(Source("<program>", text)) for text in texts[:: max(1, len(texts) // SAMPLE)]]

    def scores(divisor: int) -> np.ndarray:
        evaluator = BytecodeEvaluator(replace(task, steps=task.steps // divisor), (0,))
        return np.array([evaluator.evaluate(one).validation[0] for one in programs])

    whole, found = scores(1), dict[str, float]()
    best = np.argsort(whole)[-max(1, len(whole) // 10) :]
    for name, divisor in PARTS.items():
        part = scores(divisor)
        trained = (part > FAILED) & (whole > FAILED)
        found[name], _ = map(float, spearmanr(part[trained], whole[trained]))
        for share in HURDLES:
            missed = part[best] < np.percentile(part, share)
            found[f"stopped_{name}_{share}"] = float(np.mean(missed))
    return found


def measure(spec: JudgeSpec, tried: recipes.Tried, evaluations: int, seed: int) -> dict[str, Any]:
    """One search's figures."""
    history = History()
    result = recipes.search(spec, tried, evaluations, seed, history.see)
    gains = gains_of(history, len(tried.recipe.seeds))
    total = sum(gain.size for gain in gains) or 1.0
    by = dict[str, float]()
    for gain in gains:
        by[gain.mutation] = by.get(gain.mutation, 0.0) + gain.size / total
    largest = max(gains, key=lambda gain: gain.size, default=Gain(0.0, "none", 0.0, "", ""))
    winners = leaders(history)
    rates = [reads_rate(history.program(one.key)) for one in winners]
    line = ancestors(history.commits, winners[-1])
    found = looks(history, tried.recipe.population)
    return {
        **{name: statistics.median(values) for name, values in found.items()},
        "gains": len(gains),
        "gains_by": {name: round(share, 3) for name, share in sorted(by.items())},
        "early_gains": sum(gain.size for gain in gains if gain.at < 0.1) / total,
        "largest": largest.size / total,
        "largest_by": largest.mutation,
        "losing_rate": losing(history, gains, reads_rate) / total,
        "losing_state": losing(history, gains, live_states) / total,
        "without_rate": [not reads for reads in rates],
        "states": [live_states(history.program(one.key)) for one in winners],
        "ancestors": [one.key in line for one in winners],
        "first_seeds": len(history.texts) / result.trainings,
        **stopped_early(spec, list(history.texts.values())),
        "commits": len(history.commits),
        "test": result.test,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--task", default="sparse_regression")
    parser.add_argument("--evaluations", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--recipe", default="default", choices=SINGLE)
    options = parser.parse_args()
    spec = JudgeSpec(read_task(options.task), 1.0, "bytecode")
    rows: list[dict[str, Any]] = []
    for seed in range(1, options.seeds + 1):
        rows.append(measure(spec, recipes.TRIED[options.recipe], options.evaluations, seed))
        print(f"  seed {seed}: {json.dumps(rows[-1])}", file=sys.stderr)
    numbers = [name for name, value in rows[0].items() if isinstance(value, float)]
    medians = {name: statistics.median(row[name] for row in rows) for name in numbers}
    result = {"ratio": medians["common_ancestor"], "medians": medians, "searches": rows}
    if options.json:
        print(json.dumps({**result, **vars(options)}))
        return
    for name, value in medians.items():
        print(f"{name:<20} {value:.3f}")


if __name__ == "__main__":
    main()
