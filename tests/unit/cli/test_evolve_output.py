"""What `optdsl evolve` shows while it searches, and at the end."""

import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from support.search import CONFIG

import optdsl
from optdsl.cli import evolve_output
from optdsl.cli.evolve_config import new_folder
from optdsl.cli.evolve_output import ProgressLine, show_summary, warn
from optdsl.evolve.best import Summary
from optdsl.evolve.driver import Progress
from optdsl.evolve.meta import Fall, Point
from optdsl.evolve.rescore import Report, gain
from optdsl.evolve.run import Stage


def progress(programs: int, evaluations: int) -> Progress:
    return Progress(programs, evaluations, invalid=3, best=-0.5, redundant_fraction=0.25)


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    text = io.StringIO()
    console = Console(file=text, highlight=False, width=100)
    monkeypatch.setattr(evolve_output, "CONSOLE", console)
    return text


class Clock:
    """Time as a test has it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def evolution(programs: int, counted: Progress) -> Stage:
    """A search that ends with its proposals."""
    return Stage("evolution-1", programs, None, lambda: counted)


def tune(evaluations: int, counted: Progress) -> Stage:
    """A baseline, which ends with its evaluations."""
    return Stage("tune", None, evaluations, lambda: counted)


def test_lines_where_there_is_no_terminal(console: io.StringIO) -> None:
    clock = Clock()
    with ProgressLine(clock) as line:
        for number in range(101):
            clock.now = 0.4 * number
            line.update(evolution(100, progress(number, number // 2)))
    drawn = console.getvalue().splitlines()
    assert drawn[0] == (
        "evolution-1  25%: 25 programs, 12 evaluated, 1/s, best -0.5000, 52% from cache, "
        "25% redundant, 30 s left"
    )
    assert len(drawn) == 4
    assert drawn[-1].endswith(" 0 s left")


def test_counting_is_left_out_between_the_lines(console: io.StringIO) -> None:
    clock, counted = Clock(), 0

    def counts() -> Progress:
        nonlocal counted
        counted += 1
        return progress(counted, 1)

    with ProgressLine(clock) as line:
        for number in range(1000):
            clock.now = 0.011 * number
            line.update(Stage("evolution-1", 1000, None, counts))
    assert counted == 1


def test_a_baseline_is_measured_by_evaluations_and_by_its_own_time(console: io.StringIO) -> None:
    clock = Clock()
    with ProgressLine(clock) as line:
        clock.now = 20.0
        line.update(evolution(100, progress(100, 40)))
        clock.now = 21.0
        line.update(tune(40, progress(5, 5)))
        clock.now = 31.0
        line.update(tune(40, progress(11, 10)))
    last = console.getvalue().splitlines()[-1]
    assert last.startswith("tune  25%: 11 programs, 10 evaluated, 1/s, ")
    assert last.endswith(" 30 s left")


def test_nothing_yet_is_no_division_by_zero(console: io.StringIO) -> None:
    clock = Clock()
    line = ProgressLine(clock)
    for stage in (
        evolution(100, replace(progress(0, 0), best=-math.inf)),
        evolution(0, progress(0, 0)),
        tune(0, progress(0, 0)),
    ):
        clock.now += 100.0
        line.update(stage)
    for drawn in console.getvalue().splitlines():
        assert " 0%: 0 programs, 0 evaluated, " in drawn
        assert "left" not in drawn


def summary(best: Report, tuned: Report, folder: Path = Path("runs/x")) -> Summary:
    program = optdsl.parse("def train(g, lr):\n    return lr * g\n").ir
    initial = Report(-1.0, 0.1, -1.0, 0.1)
    return Summary(
        config=CONFIG,
        progress=progress(10, 5),
        seconds=3.0,
        initial=initial,
        baselines={"tune": tuned, "random": initial},
        tuned_program=program,
        gain=gain([(-1.0, -1.0)] * 2, [(-2.0, -2.0), (-1.0, -1.0)]),
        best=best,
        best_program=program,
        meta=(),
        folder=folder,
    )


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((0.1, 0.2, 0.1, 0.2), "better than the tuned start: +0.1500 ± 0.0919"),
        ((-0.1, -0.2, -0.1, -0.2), "worse than the tuned start: -0.1500 ± 0.0919"),
        ((-0.1, 0.2, 0.2, -0.1), "not told apart from the tuned start: +0.0500 ± 0.2756"),
        ((0.1, 0.2, 0.1, -math.inf), "not told apart from the tuned start, by a sign test"),
    ],
)
def test_the_verdict(console: io.StringIO, gains: tuple[float, ...], verdict: str) -> None:
    """Pairs of seeds tell more than two means with errors of their own."""
    scores, over = [(-1.0, -1.0 + gain) for gain in gains], [(-1.0, -1.0)] * len(gains)
    report = Report(-0.1, 0.5, -0.1, 0.5)
    show_summary(replace(summary(report, report), gain=gain(scores, over)))
    shown = console.getvalue()
    assert f"verdict: {verdict}" in shown
    for row in (
        "as started",
        "its constants tuned",
        "best of random",
        "best of evolution",
        "held-out test",
    ):
        assert row in shown
    assert "10 programs, 5 evaluated (50.0% from cache), 3 invalid, 25% redundant" in shown
    assert "written to runs/x/best.opt" in shown


BEFORE = Point("evolution-1", 600, -0.5, (-0.2,) * 8)
AFTER = Point("evolution-1", 900, -0.4, (-0.3,) * 8)


def test_a_warning_says_what_rose_and_what_fell(console: io.StringIO) -> None:
    config = replace(CONFIG, meta_task="larger[bold]", meta_every=300)
    warn(config, Fall(BEFORE, AFTER))
    assert console.getvalue() == (
        "warning: evolution-1 overfits its task: from 600 programs to 900 its best fitness rose"
        " from -0.5000 to -0.4000, and on larger[bold] that of the same programs fell from -0.2000"
        " to -0.3000\n"
    )
    warn(replace(config, meta_stop=True), Fall(BEFORE, AFTER))
    assert console.getvalue().endswith("to -0.3000; it ends here\n")


def test_the_leaders_on_the_meta_task(console: io.StringIO) -> None:
    good = Report(-0.1, 0.1, -0.1, 0.1)
    first = replace(BEFORE, programs=0, validation=(-0.9,) * 8)
    config = replace(CONFIG, meta_task="larger", meta_every=300)
    show_summary(replace(summary(good, good), config=config, meta=(first, BEFORE, AFTER)))
    assert (
        "leaders of evolution-1 on larger: -0.9000 ± 0.0000 after 0 programs,"
        " -0.2000 ± 0.0000 after 600 programs, -0.3000 ± 0.0000 after 900 programs\n"
    ) in console.getvalue()
    show_summary(summary(good, good))
    assert console.getvalue().count("leaders of") == 1


@pytest.mark.parametrize("name", ["run[bold]", "a[/b]", "x[red]y"])
def test_folders_are_no_markup(console: io.StringIO, name: str) -> None:
    good = Report(-0.1, 0.1, -0.1, 0.1)
    show_summary(summary(good, good, Path(name)))
    assert f"written to {Path(name) / 'best.opt'}" in console.getvalue()


def test_new_folders_are_numbered(tmp_path: Path) -> None:
    assert new_folder(tmp_path, "task") == tmp_path / "task-1"
    (tmp_path / "task-1").mkdir()
    (tmp_path / "task-2").touch()
    assert new_folder(tmp_path, "task") == tmp_path / "task-3"
    assert new_folder(tmp_path / "runs", "task") == tmp_path / "runs" / "task-1"
