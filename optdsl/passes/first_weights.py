"""What is known of the first step's weights before it: optax makes states for them.

So compiled programs do without the arrays that are read and written to say only this:

- `w0 = where(step == 1, w, w0)` is a state that begins as the weights, and not as zeros;
- in `where(step == 1, global_norm(w), global_norm(w - w0))`, as DoG has it, the first sum is a
  state variable, a number, that begins as that sum and never changes.
"""

from collections import Counter
from dataclasses import dataclass, replace

from optdsl.ir import Builder, Input, Operation, Program, Role, keep, rewrite, take
from optdsl.ops import BY_NAME, Kind, Over
from optdsl.passes.infer import infer
from optdsl.passes.live import needed_by, remove_dead_code

WHERE_EQUAL = BY_NAME["where=="]


def begun_with_weights(program: Program) -> Program:
    """The program whose states begin as the weights if the first step gives them the weights.

    That is so where a state is read by nothing but a `where` that says it, and stored as the
    weights are: the first step would read them as they are, and not as they are stored.
    """
    first = len(program.inputs)
    readers = Counter(arg for operation in program.operations for arg in {*operation.args})
    readers.update(program.outputs)
    wanted = [Role.STEP, Role.WEIGHT, Role.STATE]
    choices: dict[int, int] = {}
    begun: set[int] = set()
    for value, operation in enumerate(program.operations, start=first):
        if not _is_at_first(program, operation):
            continue
        step, _, weights, state = operation.args
        roles = [program.inputs[v].role if 0 <= v < first else None for v in (step, weights, state)]
        is_plain = roles == wanted and program.inputs[state].dtype is None
        if is_plain and program.inputs[state].kind == Kind.ARRAY and readers[state] == 1:
            choices[value] = operation.args.index(state)
            begun.add(state)
    if not choices:
        return program
    inputs = tuple(
        replace(entry, begins_as_weights=i in begun) for i, entry in enumerate(program.inputs)
    )
    return replace(take(program, choices), inputs=inputs)


@dataclass(frozen=True)
class FirstSums:
    """A program without the sums over the weight tree that only the first step needs."""

    program: Program
    sums: dict[str, Program]
    """The state variables that stand for them, and what they begin as: the last result of a
    program, a number that depends on the weights alone."""


def with_first_sums(program: Program) -> FirstSums:
    """State variables for the sums that nothing but `where(step == 1, ...)` reads."""
    first = len(program.inputs)
    read = Counter(arg for operation in program.operations for arg in operation.args)
    read.update(program.outputs)
    standing: dict[int, int] = {}
    states: list[Input] = []
    taken = {program.name_of(v) for v in range(first + len(program.operations))}
    for operation in program.operations:
        begins_as = operation.args[2] if _is_at_first(program, operation) else -1
        # What is read elsewhere is computed in each step, so that to keep it would save nothing.
        if read[begins_as] == 1 and _is_sum_of_weights(program, begins_as):
            name = f"first_{operation.name}"
            while name in taken:
                name += "_"
            taken.add(name)
            standing[begins_as] = first + len(states)
            states.append(Input(name, Role.STATE, Kind.SCALAR))
    if not states:
        return FirstSums(program, {})
    values = iter(range(first, first + len(program.operations)))

    def replaced(builder: Builder, operation: Operation, args: list[int | float]) -> int | float:
        state = standing.get(next(values))
        return keep(builder, operation, args) if state is None else state

    without = remove_dead_code(rewrite(program, replaced, added=tuple(states)))
    sums = zip(states, standing, strict=True)
    return FirstSums(without, {state.name: _up_to(program, value) for state, value in sums})


def _up_to(program: Program, value: int) -> Program:
    """What a value is computed from and no more; the update is the weights, and the value is the
    new one of a state variable, since what nothing reads is computed on no leaf."""
    first, needed = len(program.inputs), needed_by(program, [value])
    inputs = frozenset({*range(first)} - {*program.states})
    (weights,) = program.with_role(Role.WEIGHT)
    no_states = replace(program, outputs=(weights, *program.states))
    alone = no_states.rebuilt(inputs, sorted(v - first for v in needed if v >= first))
    alone = rewrite(alone, keep, added=(Input("first", Role.STATE, Kind.SCALAR),))
    last = len(alone.inputs) + len(alone.operations) - 1
    return replace(alone, outputs=(alone.outputs[0], last))


def _is_at_first(program: Program, operation: Operation) -> bool:
    """Whether it is `where(step == 1, ...)`."""
    op, args, _ = operation
    if op is not WHERE_EQUAL or args[0] not in program.with_role(Role.STEP):
        return False
    return args[1] < 0 and program.constants[~args[1]] == 1


def _is_sum_of_weights(program: Program, value: int) -> bool:
    """Whether a value is a number that sums over the tree give, and that depends on the weights
    alone."""
    first = len(program.inputs)
    if value < first or infer(program)[value] != Kind.SCALAR:
        return False
    needed = needed_by(program, [value])
    if any(v < first and program.inputs[v].role is not Role.WEIGHT for v in needed):
        return False
    return any(program.operations[v - first].op.over is Over.TREE for v in needed if v >= first)
