"""The order in which the weights and the states are overwritten.

Both are mostly updated in place: what calls a step gives up the old arrays. If the update reads the
old value of a state, as Lion's does, the state may be overwritten only after the weights are made.
XLA does not see that, and keeps the old value by copying the array.
"""

from optdsl.ir import Program
from optdsl.ops import Kind


def write_order(program: Program) -> list[tuple[int, list[int]]]:
    """The states to overwrite late, in order, each with the outputs to make before.

    A state waits for the update if that reads its old value, and then what the waiting state reads
    has to wait for it in turn. Only states like the weights count, and only reads on a path around
    the state's own new value: other orders XLA finds itself, and fewer constraints are better.

    Returns:
        Pairs of indices into `program.outputs`: a state's new value, and those to make before it.
        The latter are the update (0) and states that come earlier in the list.
    """
    late: dict[int, list[int]] = {}
    rest = {
        own: state
        for own, state in enumerate(program.states, start=1)
        if program.inputs[state].kind == Kind.ARRAY and program.outputs[own] != state
    }
    readers = [0]
    for reader in readers:  # which grows: a state that waits is a reader that comes late
        for own, state in rest.items():
            reads = own != reader and _reads(program, reader, state, program.outputs[own])
            if reads and own not in late.get(reader, []):
                late.setdefault(own, []).append(reader)
                readers += [own] if own not in readers else []
    placed: list[tuple[int, list[int]]] = []
    while late:
        ready = (own for own, readers in late.items() if not late.keys() & set(readers))
        own = next(ready, next(iter(late)))  # where states read each other, one cannot wait
        placed.append((own, [reader for reader in late.pop(own) if reader not in late]))
    return [(own, readers) for own, readers in placed if readers]


def _reads(program: Program, output: int, state: int, around: int) -> bool:
    """Whether an output depends on an input on a path around another value."""
    first = len(program.inputs)
    seen = {around}
    stack = [program.outputs[output]]
    while stack:
        value = stack.pop()
        if value == state:
            return True
        if value >= first and value not in seen:
            seen.add(value)
            stack.extend(program.operations[value - first].args)
    return False
