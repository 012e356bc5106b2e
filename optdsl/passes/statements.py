"""Liveness as the author sees it: of the source's statements, not of the IR's."""

from optdsl.frontend import Elaborated, Trace
from optdsl.passes.live import live_values


def live_statements(elaborated: Elaborated) -> list[bool]:
    """For each assignment of `train`, whether the update depends on it at any step.

    A statement is live if one of its operations is. One that makes none (`x = m`) is live if a
    live statement, or a live output, reads what it assigns.
    """
    program = elaborated.program
    assert program is not None
    first = len(program.inputs)
    live = live_values(program)

    def has_live_operation(trace: Trace) -> bool:
        return any(live[first + position] for position in trace.operations)

    statements = elaborated.statements
    found = [has_live_operation(trace) for trace in statements]
    outputs = [True, *(bool(live[state]) for state in program.states)]
    readers = [t for t, is_live in zip(elaborated.returned, outputs, strict=True) if is_live]
    readers += [trace for trace, is_live in zip(statements, found, strict=True) if is_live]
    while readers:
        for position in readers.pop().reads:
            if not found[position] and not statements[position].operations:
                found[position] = True
                readers.append(statements[position])
    return found
