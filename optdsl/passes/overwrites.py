"""The order in which the weights and the states are overwritten.

Both are mostly updated in place: what calls a step gives up the old arrays. If the update reads the
old value of a state, as Lion's does, the state may be overwritten only after the weights are made.
XLA does not see that, and keeps the old value by copying the array.
"""

from collections import Counter
from dataclasses import dataclass, field

from optdsl.ir import Program, Role
from optdsl.ops import BY_NAME, NUMBERS, Kind, Over
from optdsl.passes.by_leaf import leaf_plans
from optdsl.passes.infer import infer
from optdsl.passes.live import needed_by

Outputs = list[int]
"""Positions in `Program.outputs`: 0 is the update, and the others are states."""


@dataclass(frozen=True)
class Overwrites:
    """What is to be made after what; empty where no arrays are overwritten."""

    made_after: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    """As `made_after` gives it."""
    late: list[tuple[int, Outputs]] = field(default_factory=list[tuple[int, Outputs]])
    """As `write_order` gives it."""
    again: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    """For some of the late states, the values to compute again, see `made_again`."""


def overwrites(program: Program) -> Overwrites:
    """All of it, for a program without dead state."""
    late = write_order(program)
    again = {own: made_again(program, own) for own, _ in late}
    return Overwrites(
        made_after(program), late, {own: values for own, values in again.items() if values}
    )


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
        if kinds[state] != Kind.ARRAY or new < first or kinds[new] != Kind.ARRAY:
            continue
        op, args, _ = program.operations[new - first]
        arrays = {arg for arg in args if arg >= 0 and kinds[arg] == Kind.ARRAY}
        earlier = [n for n in numbers if first <= n < new and state in needed_by(program, [n])]
        if new in read and (earlier or (len(arrays) == 1 and op.over is not Over.MATRIX)):
            earlier.append(new)
        if earlier:
            found[new] = earlier
    return found


SUMS_AND_PRODUCTS = frozenset(
    BY_NAME[name] for name in ("+", "-", "*", "interpolate", "square", "abs")
)
QUOTIENTS_AND_ROOTS = frozenset(BY_NAME[name] for name in ("/", "reciprocal", "sqrt"))


def made_again(program: Program, own: int) -> list[int]:
    """The values that a late state's new value is computed from once more, after the weights.

    What the new state shares with the update or with another state, XLA may compute in a loop of
    its own, and keep in an array until both have read it: new memory in each step. To compute it
    twice takes less time, if it is no more than a quotient or a root, and if the second loop can:
    if it reads nothing that is overwritten by then but the state itself.

    Returns:
        The values in order, the new value last; none where nothing is gained, or something that
        is needed is lost.
    """
    first, kinds, outputs = len(program.inputs), infer(program), program.outputs
    pairs = list(zip(program.states, outputs[1:], strict=True))
    stored = {new for _, new in pairs} - {outputs[own]}
    lost = {state for state, new in pairs if new != state} - {program.states[own - 1]}
    lost |= {*program.with_role(Role.WEIGHT)}
    values: set[int] = set()
    stack = [outputs[own]]
    while stack:
        value = stack.pop()
        if value in lost:
            return []
        if value < 0 or value in values or kinds[value] in NUMBERS:
            continue
        if kinds[value] != Kind.ARRAY:  # XLA keeps what rows and columns make of an array
            return []
        if value < first or value in stored:
            continue
        op, args, _ = program.operations[value - first]
        if op not in SUMS_AND_PRODUCTS | QUOTIENTS_AND_ROOTS:
            return []
        values.add(value)
        stack.extend(args)
    if not any(values & needed_by(program, [new]) for new in {outputs[0], *stored}):
        return []
    # XLA keeps a quotient that one loop reads twice.
    costly = {v for v in values if program.operations[v - first].op in QUOTIENTS_AND_ROOTS}
    for loop in (values, {v for v in needed_by(program, [outputs[0]]) if v >= first}):
        reads = Counter(arg for v in loop for arg in program.operations[v - first].args)
        if any(reads[value] > 1 for value in costly):
            return []
    return sorted(values)


def write_order(program: Program) -> list[tuple[int, Outputs]]:
    """The states to overwrite late, in order, each with the outputs to make before.

    A state waits for the update if that reads its old value, and then what the waiting state reads
    has to wait for it in turn. Only states like the weights count, and only reads on a path around
    the state's own new value: other orders XLA finds itself, and fewer constraints are better.

    Returns:
        For each state its position in `program.outputs`, and those of what to make before: of the
        update, and of states that come earlier in the list.
    """
    late: dict[int, list[int]] = {}
    rest = {
        own: state
        for own, state in enumerate(program.states, start=1)
        if program.inputs[state].kind == Kind.ARRAY and program.outputs[own] != state
    }
    around = {own: _equal_on_leaves(program, program.outputs[own]) for own in rest}
    readers = [0]
    for reader in readers:  # which grows: a state that waits is a reader that comes late
        for own, state in rest.items():
            new = program.outputs[reader]
            reads = own != reader and state in needed_by(program, [new], around[own])
            if reads and own not in late.get(reader, []):
                late.setdefault(own, []).append(reader)
                readers += [own] if own not in readers else []
    placed: list[tuple[int, list[int]]] = []
    while late:
        ready = (own for own, readers in late.items() if not late.keys() & set(readers))
        own = next(ready, next(iter(late)))  # where states read each other, one cannot wait
        placed.append((own, [reader for reader in late.pop(own) if reader not in late]))
    return [(own, readers) for own, readers in placed if readers]


def _equal_on_leaves(program: Program, value: int) -> set[int]:
    """A value, and the arguments of which it is one on each leaf, as the leaf's shape decides."""
    decided = leaf_plans(program, [()])[0].chosen
    found, first = {value}, len(program.inputs)
    stack = [value]
    while stack:
        if (value := stack.pop()) in decided:
            arguments = program.operations[value - first].args[2:]
            stack += [arg for arg in arguments if arg >= first]
            found.update(stack)
    return found
