"""Figure 2 of the paper: evolution beside a tuned AdamW and random search; hit rate, redundancy.

    python examples/paper/figure_2.py [--task digits_diffusion] [--programs 30000] [--restarts 5]
                                      [--compute 4] [--out runs/figure_2] [--json]

Several searches from AdamW, then one from the best that they found. The baselines are looked at
where they have made `--compute` times the evaluations of one search. All other options go to
`optdsl evolve`; `optdsl report DIR` draws the curves. A run that DIR holds already is read.
"""

import argparse
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from searches import Find, evolve, find_of, judge_of, mean_text, reported

from optdsl.cli.output import print_json
from optdsl.comparison.text import interval_text
from optdsl.diagnostics import Source
from optdsl.evolve.config import CONFIG_FILE, read_config
from optdsl.evolve.rescore import gain
from optdsl.evolve.run_data import RunData, Stage, open_database, read_run
from optdsl.frontend import load
from optdsl.report.curves import best_by_programs, curves
from optdsl.tasks.statistics import Difference

PAPER = {"hit rate": "89.1 ± 0.6 %", "redundant statements": "69.8 ± 1.9 %"}
"""At the ends of five searches of 300,000 programs."""


@dataclass(frozen=True)
class Row:
    """One search, or several of a kind."""

    name: str
    evaluations: float
    """Of one of them."""
    fitness: list[float]
    """Of each one's best, by the search itself."""
    test: list[float]
    """Of each one's best, on fresh seeds: the mean held-out score."""
    gain: Difference | None
    """By how much the last search's best is above it, on the held-out test."""


def until(stage: Stage, evaluations: float) -> Stage:
    """A search as it was when it had made so many evaluations."""
    spent = np.cumsum(stage.commits["evaluated"])
    return replace(stage, commits=stage.commits[: np.searchsorted(spent, evaluations, "right")])


def kinds(run: RunData, compute: float) -> dict[str, list[Stage]]:
    """What the figure compares, by name; evolution's last search first."""
    each = np.mean([stage.commits["evaluated"].sum() for stage in run.restarts])
    found = {"evolution": list(run.restarts)}
    if len(run.restarts) > 1:
        found = {"from the best found": [run.searches[-1]]} | found
    return found | {stage.name: [until(stage, compute * each)] for stage in run.baselines}


def measure(folder: Path, compute: float) -> list[Row]:
    """The left of the figure, with AdamW as started."""
    spec = judge_of(folder)
    with open_database(folder) as db:
        stages = kinds(read_run(folder, db), compute)
        finds = {
            name: [find_of(spec, db, stage) for stage in some] for name, some in stages.items()
        }
    first, (best, *_) = next(iter(finds.items()))

    def over(other: Find) -> Difference:
        return gain(best.scores, other.scores)

    rows: list[Row] = []
    for name, some in stages.items():
        commits = [stage.commits for stage in some]
        rows.append(
            Row(
                name=name,
                evaluations=float(np.mean([one["evaluated"].sum() for one in commits])),
                fitness=[float(best_by_programs(one, np.array([len(one)]))[0]) for one in commits],
                test=[find.test for find in finds[name]],
                gain=None if name in (first, "evolution") else over(finds[name][0]),
            )
        )
    start = reported(spec, load(Source(CONFIG_FILE, read_config(folder).program)))
    return [*rows, Row("AdamW as started", 0, [], [start.test], over(start))]


def ends(folder: Path) -> dict[str, tuple[float, float]]:
    """The right of the figure, where the searches from AdamW end: means, standard errors."""
    with open_database(folder) as db:
        figure = curves(read_run(folder, db))
    pairs = zip(PAPER, (figure.hit_rate[0], figure.redundant_fraction[0]), strict=True)
    return {name: (one.mean[-1], one.error[-1] if one.error else 0.0) for name, one in pairs}


def main() -> None:
    """Search, score again, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="digits_diffusion")
    parser.add_argument("--programs", type=int, default=30_000, help="of all searches together")
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--compute", type=float, default=4)
    parser.add_argument("--out", type=Path, default=Path("runs/figure_2"))
    parser.add_argument("--json", action="store_true", help="print one object")
    options, others = parser.parse_known_args()
    evolve(
        options.out, options.task, "--programs", options.programs, "--restarts", options.restarts,
        "--random-baseline", "--tune-first", 0, *others,
    )  # fmt: skip
    rows, rates = measure(options.out, options.compute), ends(options.out)
    if options.json:
        print_json({"rows": [asdict(row) for row in rows], "ends": rates})
        return
    print(f"{options.task}: mean ± standard error; differences are paired, with 95 % intervals")
    print(f"  {'':<20} evaluations  best fitness of a search  its test score on fresh seeds")
    for row in rows:
        fitness = mean_text(row.fitness) if row.fitness else ""
        gain = f"{rows[0].name} is {row.gain.verdict}" if row.gain else ""
        if row.gain and row.gain.gain.mean:
            gain += f" {interval_text(row.gain.gain, '+.4f')}"
        tests = f"{mean_text(row.test):<16}  {gain}"
        print(f"  {row.name:<20} {row.evaluations:>11.0f}  {fitness:<24}  {tests}".rstrip())
    print(
        "The paper: evolution is far above both baselines, and from its best found it gains again."
    )
    print("At the searches' ends:")
    for name, paper in PAPER.items():
        mean, error = rates[name]
        print(f"  {name}: {mean:.1%} ± {error:.1%}; the paper: {paper}")


if __name__ == "__main__":
    main()
