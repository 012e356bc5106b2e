"""The stages that need no training: exact and algebraic, each step checked by numbers."""

from collections.abc import Callable

from optdsl.ir import Program
from optdsl.passes.algebra import Level, simplify_algebra
from optdsl.passes.fold import fold_constants
from optdsl.passes.live import remove_dead_state
from optdsl.passes.merge import merge_equal
from optdsl.simplify.check import difference, passes
from optdsl.simplify.steps import Trail

EXACT: tuple[tuple[str, Callable[[Program], Program]], ...] = (
    ("dead statements and dead state", remove_dead_state),
    ("folded constants", lambda program: remove_dead_state(fold_constants(program))),
    ("expressions computed twice", lambda program: remove_dead_state(merge_equal(program))),
)
"""In this order: what is dead needs no folding, and folding makes expressions equal."""


def simplify_exactly(trail: Trail) -> None:
    """Remove what changes no bit."""
    for reason, change in EXACT:
        changed = change(trail.program)
        if size(changed) < size(trail.program):
            _take_checked(trail, "exact", reason, changed, Level.EXACT)


def simplify_algebraically(trail: Trail) -> None:
    """Rewrite in fewer statements or states, by all rules if that passes its check, else by those
    that are safer."""
    for level in (Level.APPROX, Level.FINITE):
        changed, reasons = simplify_algebra(trail.program, level)
        if size(changed) < size(trail.program):
            reason = "; ".join(reasons) or "sums and products collected"
            if _take_checked(trail, "algebra", reason, changed, level):
                return


def smallest(program: Program) -> Program:
    """The program after all formal rewriting, unchecked: to estimate what a change is worth."""
    program = remove_dead_state(merge_equal(fold_constants(remove_dead_state(program))))
    changed, _ = simplify_algebra(program)
    return changed if size(changed) < size(program) else program


def size(program: Program) -> tuple[int, int]:
    """Statements, then states: what simplification makes smaller."""
    return len(program.operations), len(program.states)


def _take_checked(trail: Trail, stage: str, reason: str, changed: Program, level: Level) -> bool:
    gap = difference(trail.program, changed, level)
    if passes(gap, level):
        trail.take(stage, reason, changed, {"level": str(level), "difference": gap})
        return True
    return False
