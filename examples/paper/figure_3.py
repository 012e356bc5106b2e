"""Figure 3 of the paper: when searches overfit their task, and what is found by those that do late.

    python examples/paper/figure_3.py [--task digits_mlp] [--meta-task digits_mlp@10x]
                                      [--searches 12] [--programs 2000] [--out runs/figure_3]
                                      [--json]

Each search's leader is judged on a larger task too, twenty times. Where the leader that is best
there is not the last one, the search overfits from that one on. All other options go to `optdsl
evolve`; `optdsl report DIR` draws the curves. A run that DIR holds already is read.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from scipy.stats import spearmanr
from searches import evolve

from optdsl.cli.output import print_json
from optdsl.evolve.meta import Point
from optdsl.report.summary import summarize

LOOKS = 20
BINS = 5


@dataclass(frozen=True)
class Course:
    """A search from AdamW, told by its leaders."""

    name: str
    programs: int
    points: tuple[Point, ...]
    falls: bool
    """Whether a leader is worse on the meta task than one before it, by more than chance."""

    @property
    def peak(self) -> Point:
        """The leader that is best on the meta task."""
        return max(self.points, key=lambda point: point.meta_fitness)

    @property
    def progress(self) -> float:
        """The share of the search at which that one was first seen."""
        return self.peak.programs / self.programs

    @property
    def overfits(self) -> bool:
        """Whether leaders followed it."""
        return self.peak is not self.points[-1]


def courses(folder: Path) -> list[Course]:
    """The searches of a run that began with AdamW."""
    found = summarize(folder)
    falling = {fall.after.stage for fall in found.falls}
    return [
        Course(
            stage.name,
            len(stage.proposals),
            tuple(point for point in found.run.meta if point.stage == stage.name),
            stage.name in falling,
        )
        for stage in found.run.restarts
    ]


def show_course(course: Course) -> None:
    """The left of the figure."""
    print(f"{course.name}: search fitness and meta fitness of its leaders")
    for point in course.points:
        mark = "  <- best on the meta task" if point is course.peak else ""
        share = point.programs / course.programs
        print(f"  {share:>4.0%}  {point.fitness:.4f}  {point.meta_fitness:.4f}{mark}")


def show_histogram(found: list[Course]) -> None:
    """The right of the figure; at 0 % the start itself is best, whose score the others exceed."""
    print("searches by the progress at which the meta fitness is best, and its mean")
    for i in range(BINS):
        mine = [one for one in found if i == min(int(one.progress * BINS), BINS - 1)]
        mean = f"{fmean(one.peak.meta_fitness for one in mine):.4f}" if mine else ""
        print(f"  {i / BINS:>4.0%} to {(i + 1) / BINS:>4.0%}  {'#' * len(mine):<12} {mean}")
    overfit, falling = (sum(getattr(one, a) for one in found) for a in ("overfits", "falls"))
    print(f"{overfit} of {len(found)} have a later leader; {falling} fall by more than chance")
    later = [one for one in found if one.progress]
    progress = [one.progress for one in later]
    if len(set(progress)) > 1:
        rank, chance = spearmanr(progress, [one.peak.meta_fitness for one in later])
        print(
            f"of the {len(later)} whose start is not the best, progress and best meta fitness have"
        )
        print(f"a rank correlation of {rank:+.2f} (p = {chance:.2f})")
    print("The paper: half of 50 searches overfit early, and a long tail later; later is better.")


def main() -> None:
    """Search, and print both panels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="digits_mlp")
    parser.add_argument("--meta-task", default="digits_mlp@10x")
    parser.add_argument("--searches", type=int, default=12)
    parser.add_argument("--programs", type=int, default=2_000, help="of each search")
    parser.add_argument("--out", type=Path, default=Path("runs/figure_3"))
    parser.add_argument("--json", action="store_true", help="print one object")
    options, others = parser.parse_known_args()
    evolve(
        options.out, options.task, "--meta-task", options.meta_task,
        "--meta-every", max(options.programs // LOOKS, 1), "--restarts", options.searches,
        "--programs", options.programs * (options.searches + 1), "--tune-first", 0, *others,
    )  # fmt: skip
    found = courses(options.out)
    if options.json:
        print_json([[point.to_json() for point in one.points] for one in found])
        return
    by_progress = sorted(found, key=lambda one: one.progress)
    for course in (by_progress[0], by_progress[-1]):
        show_course(course)
    show_histogram(found)


if __name__ == "__main__":
    main()
