"""The algebraic stage: one pass that reads a program into forms and writes it anew."""

from optdsl.ir import Program
from optdsl.passes.algebra.forms import Algebra, nonnegative_inputs
from optdsl.passes.algebra.reading import Forms, read_program
from optdsl.passes.algebra.rules import Level, rules_up_to
from optdsl.passes.algebra.states import nonnegative_states, reduce_states
from optdsl.passes.algebra.writing import UnwritableForm, write_program
from optdsl.passes.live import remove_dead_state


def simplify_algebra(program: Program, level: Level = Level.APPROX) -> tuple[Program, list[str]]:
    """The program in few statements, and the rules and reductions that made it so.

    Args:
        program: any valid program.
        level: how far rules may change results.

    Returns:
        The program itself, where a number leaves the range of doubles.
    """
    program = remove_dead_state(program)
    rules = rules_up_to(level)

    def read(states: frozenset[int]) -> tuple[Algebra, Forms]:
        algebra = Algebra(program.inputs, rules, nonnegative_inputs(program.inputs) | states)
        return algebra, read_program(algebra, program)

    try:
        _, forms = read(frozenset())
        algebra, forms = read(nonnegative_states(forms, read))
        forms, reasons = reduce_states(algebra, forms)
        written = write_program(algebra, forms, program.doc)
    except (OverflowError, UnwritableForm):
        return program, []
    return written, [*algebra.fired, *reasons]
