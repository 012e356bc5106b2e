"""The order in which the weights and the states are overwritten.

Both are mostly updated in place: what calls a step gives up the old arrays. If the update reads the
old value of a state, as Lion's does, the state may be overwritten only after the weights are made.
XLA does not see that, and keeps the old value by copying the array.
"""

from optdsl.ir import Program
from optdsl.ops import Kind, Over
from optdsl.passes.infer import infer


def made_after(program: Program) -> dict[int, list[int]]:
    """The states' new values that are to be made after others, which have smaller numbers.

    - After the numbers that are added up from the state's old value.
    - After itself, which says: computed once, and read from where it is kept. XLA computes an
      elementwise function of one array again in every loop that reads it, since that costs no
      further array; it does not see that the function's argument does. So where AdaBelief ends
      with `v = ... + eps_root`, the update would read the old v, and v would be copied.

    Only states like the weights count.
    """
    kinds, first = infer(program), len(program.inputs)
    read = {arg for operation in program.operations for arg in operation.args}
    read.add(program.outputs[0])
    pairs = list(zip(program.states, program.outputs[1:], strict=True))
    numbers = [new for state, new in pairs if kinds[state] == Kind.SCALAR]
    found: dict[int, list[int]] = {}
    for state, new in pairs:
        if kinds[state] != Kind.ARRAY or new < first:
            continue
        op, args, _ = program.operations[new - first]
        arrays = {arg for arg in args if arg >= 0 and kinds[arg] == Kind.ARRAY}
        earlier = [n for n in numbers if first <= n < new and _reads(program, n, state)]
        if new in read and (earlier or (len(arrays) == 1 and op.over is not Over.MATRIX)):
            earlier.append(new)
        if earlier:
            found[new] = earlier
    return found


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
            around = program.outputs[own]
            reads = own != reader and _reads(program, program.outputs[reader], state, around)
            if reads and own not in late.get(reader, []):
                late.setdefault(own, []).append(reader)
                readers += [own] if own not in readers else []
    placed: list[tuple[int, list[int]]] = []
    while late:
        ready = (own for own, readers in late.items() if not late.keys() & set(readers))
        own = next(ready, next(iter(late)))  # where states read each other, one cannot wait
        placed.append((own, [reader for reader in late.pop(own) if reader not in late]))
    return [(own, readers) for own, readers in placed if readers]


def _reads(program: Program, value: int, state: int, around: int | None = None) -> bool:
    """Whether a value depends on an input, on a path around another value."""
    first = len(program.inputs)
    seen = {around}
    stack = [value]
    while stack:
        value = stack.pop()
        if value == state:
            return True
        if value >= first and value not in seen:
            seen.add(value)
            stack.extend(program.operations[value - first].args)
    return False
