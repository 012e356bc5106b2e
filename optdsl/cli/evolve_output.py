"""What `optdsl evolve` shows: a progress line while it searches, a table at the end."""

import math
from collections.abc import Callable, Iterator
from itertools import groupby

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from optdsl.evolve.best import Summary
from optdsl.evolve.config import RunConfig
from optdsl.evolve.driver import Progress
from optdsl.evolve.meta import Fall
from optdsl.evolve.rescore import REPORT_SEEDS, Report
from optdsl.evolve.run import Stage
from optdsl.ir import print_program
from optdsl.tasks.statistics import UNDECIDED

CONSOLE = Console(stderr=True, highlight=False)

DRAW_INTERVAL = 0.2
"""Seconds between redrawings on a terminal."""

PLAIN_INTERVAL = 10.0
"""Seconds between lines where stderr is no terminal."""


BASELINE_NAMES = {
    "tune": "its constants tuned",
    "random": "best of random",
    "evolution": "evolution",
}
"""What the table calls the best of a strategy."""


class ProgressLine:
    """Redraws one line on a terminal; elsewhere prints a line now and then."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self.clock = clock
        self.stage = ""
        self.began = self.drawn = clock()
        self.live = Live(console=CONSOLE, transient=True, refresh_per_second=5)

    def __enter__(self) -> "ProgressLine":
        """Begin to draw."""
        if CONSOLE.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Remove the line."""
        if CONSOLE.is_terminal:
            self.live.stop()

    def update(self, stage: Stage) -> None:
        """Called after each commit; cheap unless it draws."""
        now = self.clock()
        if stage.name != self.stage:
            self.stage, self.began = stage.name, now
        if now - self.drawn < (DRAW_INTERVAL if CONSOLE.is_terminal else PLAIN_INTERVAL):
            return
        self.drawn = now
        line = self._line(stage, stage.counts(), now)
        if CONSOLE.is_terminal:
            self.live.update(Text(line))
        else:
            CONSOLE.print(line, soft_wrap=True)

    def _line(self, stage: Stage, progress: Progress, now: float) -> str:
        elapsed = now - self.began
        made = progress.programs if stage.evaluations is None else progress.evaluations
        done = min(made / max(stage.programs or stage.evaluations or 1, 1), 1.0)
        rate = f", {progress.evaluations / elapsed:.0f}/s" if elapsed > 0 else ""
        remaining = f", {elapsed / done * (1 - done):.0f} s left" if done > 0 else ""
        return (
            f"{stage.name} {done:4.0%}: {progress.programs} programs, "
            f"{progress.evaluations} evaluated{rate}, best {progress.best:.4f}, "
            f"{progress.hit_rate:.0%} from cache, {progress.redundant_fraction:.0%} redundant"
            f"{remaining}"
        )


def warn(config: RunConfig, fall: Fall) -> None:
    """Say that a search's leaders get worse on the meta task, when that is first seen."""
    before, after = fall.before, fall.after
    CONSOLE.print(
        f"warning: {after.stage} overfits its task: from {before.programs} programs to"
        f" {after.programs} its best fitness rose from {before.fitness:.4f} to {after.fitness:.4f},"
        f" and on {config.meta_task} that of the same programs fell from {before.meta_fitness:.4f}"
        f" to {after.meta_fitness:.4f}{'; it ends here' if config.meta_stop else ''}",
        style="yellow",
        markup=False,
        soft_wrap=True,
    )


def show_summary(summary: Summary) -> None:
    """The winner beside the initial program as started, and with its constants tuned."""
    progress = summary.progress
    table = Table(title=f"Mean of {len(REPORT_SEEDS)} fresh seeds ± standard error")
    table.add_column("program")
    table.add_column("validation", justify="right")
    table.add_column("held-out test", justify="right")
    rows = [("as started", summary.initial)]
    rows += [(BASELINE_NAMES[name], report) for name, report in summary.baselines.items()]
    rows.append((f"best of {summary.config.strategy}", summary.best))
    for name, report in rows:
        table.add_row(name, *_cells(report))
    CONSOLE.print(table)
    CONSOLE.print(Text(f"started from: {summary.start}"), soft_wrap=True)
    CONSOLE.print(
        f"{progress.programs} programs, {progress.evaluations} evaluated "
        f"({progress.hit_rate:.1%} from cache), {progress.invalid} invalid, "
        f"{progress.redundant_fraction:.0%} redundant statements, {summary.seconds:.0f} s; "
        f"the baselines had {_times(summary.config.baseline_compute)} evaluations",
        soft_wrap=True,
    )
    for line in _meta_lines(summary):
        CONSOLE.print(line, markup=False, soft_wrap=True)
    CONSOLE.print(_verdict(summary), soft_wrap=True)
    CONSOLE.print()
    # As `Text`, in which neither [brackets] nor :colons: are markup.
    CONSOLE.print(Text(print_program(summary.best_program)), soft_wrap=True)
    CONSOLE.print(Text(f"written to {summary.best_file}"), soft_wrap=True)


def _times(compute: int) -> str:
    return "as many" if compute == 1 else f"{compute} times as many"


def _meta_lines(summary: Summary) -> Iterator[str]:
    """The first and the last leader of each search on the meta task, and the best if neither is."""
    for stage, group in groupby(summary.meta, key=lambda point: point.stage):
        points = list(group)
        best = max(points, key=lambda point: point.meta_fitness)
        shown = sorted({points[0], best, points[-1]}, key=lambda point: point.programs)
        scores = ", ".join(
            f"{point.meta_fitness:.4f} ± {point.meta_error:.4f} after {point.programs} programs"
            for point in shown
        )
        yield f"leaders of {stage} on {summary.config.meta_task}: {scores}"


def _verdict(summary: Summary) -> str:
    """Whether the winner beats the tuned start on test."""
    found, gain = summary.gain.verdict, summary.gain.gain
    compared = f"{found} {'from' if found == UNDECIDED else 'than'} the tuned start"
    if math.isnan(gain.mean):
        return f"verdict: {compared}, by a sign test: a program diverged on the fresh seeds"
    return (
        f"verdict: {compared}: {gain.mean:+.4f} ± {gain.half_width:.4f} "
        "(95 %, seed by seed) on the held-out test"
    )


def _cells(report: Report) -> tuple[str, str]:
    return (
        f"{report.fitness:.4f} ± {report.fitness_error:.4f}",
        f"{report.test_fitness:.4f} ± {report.test_error:.4f}",
    )
