"""Appendix D of the paper: what searches with less data, or with less progress, find.

    python examples/paper/appendix_d.py [--task digits_mlp] [--less examples/paper/tenth_task.py]
                                        [--programs 3000] [--searches 5] [--out runs/appendix_d]

Searches on a task, and on the same with a tenth of its training examples. The finds of both are
trained on both tasks: those of less data should regularize better. And the leaders of the searches
with all data are named early and late: the early ones should be simple variants of AdamW. All other
options go to `optdsl evolve`. Runs that the folder holds already are read.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from sqlite3 import Connection

from searches import evolve, find_of, judge_of, mean_text, reported

from optdsl.comparison.identify import identify
from optdsl.diagnostics import Source
from optdsl.evolve.finds import best_of_stages
from optdsl.evolve.run_data import Stage, open_database, read_run
from optdsl.frontend import load
from optdsl.ir import Program
from optdsl.passes.decay import weight_decay
from optdsl.passes.live import remove_dead_state

PROGRESS = (0.05, 0.2, 1.0)
"""The shares of a search after which its leader is named."""


def show_finds(folder: Path, data: str, tasks: Sequence[str]) -> None:
    """The finds of a run's searches, and of tuning as much: their worth on each task."""
    with open_database(folder) as db:
        run = read_run(folder, db)
        kinds = {"evolution": run.restarts, "tuned AdamW": run.baselines}
        for kind, stages in kinds.items():
            found = [find_of(judge_of(folder), db, stage).program for stage in stages]
            tests = [
                mean_text([reported(judge_of(folder, task), one).test for one in found])
                for task in tasks
            ]
            decays = Counter(weight_decay(one).value for one in found)
            decay = ", ".join(f"{count} {what}" for what, count in decays.items())
            print(f"  {kind:<12} {data:<8} {tests[0]:<17} {tests[1]:<17} {decay}", flush=True)


def leader_after(db: Connection, stage: Stage, share: float) -> Program:
    """The best program of a search when it had made a share of its programs, without dead code."""
    made = round(share * len(stage.proposals))
    early = replace(stage, commits=stage.commits[: 1 + made])
    (found,) = best_of_stages(db, [early], 1)
    return remove_dead_state(load(Source(found.key, found.text)))


def show_progress(folder: Path, progress: Sequence[float]) -> None:
    """What the searches' leaders are, early and late."""
    print("leaders by progress: the nearest known optimizer, its distance from 0 to 1, statements")
    named = cache(identify)
    with open_database(folder) as db:
        for stage in read_run(folder, db).restarts:
            for share in progress:
                program = leader_after(db, stage, share)
                found = named(program)
                equal = ", equal but for constants" if found.equal else ""
                print(
                    f"  {stage.name:<12} {share:>4.0%}  {found.name:<18} "
                    f"{found.nearest[0].distance:.2f}  {len(program.operations):>2}{equal}",
                    flush=True,
                )


def main() -> None:
    """Search twice, and print both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="digits_mlp")
    parser.add_argument("--less", default=str(Path(__file__).with_name("tenth_task.py")))
    parser.add_argument("--programs", type=int, default=3_000, help="of each search")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--progress", type=float, nargs="+", default=PROGRESS)
    parser.add_argument("--out", type=Path, default=Path("runs/appendix_d"))
    options, others = parser.parse_known_args()
    tasks = {"all": options.task, "a tenth": options.less}
    for data, task in tasks.items():
        evolve(
            options.out / data.replace(" ", "_"), task, "--restarts", options.searches,
            "--programs", options.programs * (options.searches + 1), "--tune-first", 0, *others,
        )  # fmt: skip
    print("mean held-out test score of the finds ± standard error, and their weight decay")
    print(f"  {'found by':<12} {'data':<8} {'on all the data':<17} on a tenth")
    for data in tasks:
        show_finds(options.out / data.replace(" ", "_"), data, list(tasks.values()))
    print("The paper: with less data algorithms with better regularization are found (Program 5).")
    show_progress(options.out / "all", options.progress)
    print("The paper: with less progress simple variants of AdamW are found (Programs 6 and 7).")


if __name__ == "__main__":
    main()
