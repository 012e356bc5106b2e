"""What a run found: its summary, and the text of `best.opt`."""

from dataclasses import dataclass
from pathlib import Path

from optdsl.diagnostics import Source
from optdsl.evolve.config import CONFIG_FILE, RunConfig
from optdsl.evolve.driver import Progress
from optdsl.evolve.lineage import Ancestor, gains
from optdsl.evolve.meta import Point, falls
from optdsl.evolve.rescore import REPORT_SEEDS, Report
from optdsl.frontend import load
from optdsl.ir import Program, print_program
from optdsl.passes.hashing import structural_hash
from optdsl.simplify.formal import simplify_exactly
from optdsl.simplify.steps import Trail
from optdsl.tasks.statistics import Difference

TUNE = "tune"
"""The baseline that every find is compared with: a win over an untuned start is no win."""


@dataclass(frozen=True)
class Summary:
    """What a run found, every score on REPORT_SEEDS."""

    config: RunConfig
    progress: Progress
    """Of all searches but the baselines'."""
    seconds: float
    initial: Report
    baselines: dict[str, Report]
    """The best of each baseline's strategy, at as many evaluations."""
    tuned_program: Program
    gain: Difference
    """The best's over the tuned program."""
    best: Report
    best_program: Program
    """As it is written to `best.opt`."""
    meta: tuple[Point, ...]
    """The searches' leaders on the meta task, if there is one."""
    folder: Path

    @property
    def best_file(self) -> Path:
        """Where the best program was written."""
        return self.folder / "best.opt"

    @property
    def tuned(self) -> Report:
        """The initial program with its constants tuned."""
        return self.baselines[TUNE]

    @property
    def start(self) -> str:
        """What the initial program calls itself: its docstring's first line, or its parameters."""
        program = load(Source(CONFIG_FILE, self.config.program))
        names = ", ".join(entry.name for entry in program.inputs)
        return program.doc.split("\n")[0] or f"train({names})"

    def to_json(self) -> dict[str, object]:
        """The object that `evolve --json` prints."""
        progress = self.progress
        return {
            "task": self.config.task,
            "start": self.start,
            "programs": progress.programs,
            "evaluations": progress.evaluations,
            "cache_hits": progress.cache_hits,
            "hit_rate": progress.hit_rate,
            "invalid": progress.invalid,
            "redundant_fraction": progress.redundant_fraction,
            "seconds": self.seconds,
            "evaluator": self.config.evaluator,
            "seeds": self.config.seeds,
            "hurdles": self.config.hurdles,
            "initial_fitness": self.initial.fitness,
            "initial_test_fitness": self.initial.test_fitness,
            "tuned_fitness": self.tuned.fitness,
            "tuned_test_fitness": self.tuned.test_fitness,
            "baselines": {
                name: {
                    "fitness": report.fitness,
                    "fitness_standard_error": report.fitness_error,
                    "test_fitness": report.test_fitness,
                    "test_fitness_standard_error": report.test_error,
                }
                for name, report in self.baselines.items()
            },
            "gain": {
                "test_fitness": self.gain.gain.mean,
                "test_fitness_half_width": self.gain.gain.half_width,
                "verdict": self.gain.verdict,
            },
            "meta_task": self.config.meta_task or None,
            "meta": [point.to_json() for point in self.meta],
            "meta_warnings": [fall.to_json() for fall in falls(self.meta)],
            "best": {
                "fitness": self.best.fitness,
                "fitness_standard_error": self.best.fitness_error,
                "test_fitness": self.best.test_fitness,
                "test_fitness_standard_error": self.best.test_error,
                "hash": structural_hash(self.best_program),
                "statements": len(self.best_program.operations),
                "file": str(self.best_file),
            },
        }


def as_written(program: Program) -> Program:
    """What `best.opt` holds of a program: simplified as far as no bit of its training changes."""
    trail = Trail(program)
    simplify_exactly(trail)
    return trail.program


def best_text(summary: Summary, lineage: list[Ancestor]) -> str:
    """`best.opt`: the best program, its scores and lineage in comments."""
    config, best, initial = summary.config, summary.best, summary.initial
    tuned = summary.tuned
    lines = [
        f"# The best of {summary.progress.programs} programs that optdsl {config.version} made for "
        f"the task {config.task}.",
        f"# Mean log-likelihood or score over {len(REPORT_SEEDS)} fresh seeds: validation "
        f"{best.fitness:.4f} (± {best.fitness_error:.4f}), test {best.test_fitness:.4f} "
        f"(± {best.test_error:.4f}).",
        f"# The initial program: {initial.fitness:.4f}, test {initial.test_fitness:.4f}; "
        f"with its constants tuned: {tuned.fitness:.4f}, test {tuned.test_fitness:.4f}.",
        f"# Train it again: optdsl train best.opt --task {config.task} "
        f"--lr {config.learning_rate!r}",
        f"# Make it shorter by evidence: optdsl simplify best.opt --task {config.task}",
        "#",
        f"# Lineage: {len(lineage) - 1} mutations; those that raised the search's fitness:",
        *(f"#   {a.stage} {a.number}, {a.mutation}: {a.fitness:.4f}" for a in gains(lineage[::-1])),
        "",
    ]
    return "\n".join(lines) + print_program(summary.best_program)
