"""What a program's update depends on: dead statements and dead state.

A state variable is live if some path carries it to the update, over any number of training steps:
its value at one step reaches the update of a later one through new values of live states. So
liveness is a fixpoint over the training loop, found by one walk in which reaching a state also
reaches the value returned for it. In the paper's Programs 4 and 8 the state `m` is dead.
"""

from collections.abc import Collection, Iterable

from optdsl.ir import Program, Role
from optdsl.ops import Over


def live_values(program: Program) -> bytearray:
    """For every value, 1 if the update depends on it at any step, else 0."""
    first = len(program.inputs)
    operations = program.operations
    new_value = dict(zip(program.states, program.outputs[1:], strict=True))
    live = bytearray(first + len(operations))
    stack = [program.outputs[0]]
    while stack:
        value = stack.pop()
        if value < 0 or live[value]:
            continue
        live[value] = 1
        if value >= first:
            stack.extend(operations[value - first][1])
        elif value in new_value:
            stack.append(new_value[value])
    return live


def reads_numbers(program: Program, role: Role) -> bool:
    """Whether the update depends on the numbers in inputs of a role, and not on shapes alone."""
    live, first = live_values(program), len(program.inputs)
    read = {
        arg
        for value, (op, args, _) in enumerate(program.operations, start=first)
        if live[value] and op.over is not Over.SHAPE
        for arg in args
    }
    read |= {output for output in program.outputs if output >= 0 and live[output]}
    return any(i in read for i in program.with_role(role))


def needed_by(program: Program, values: Iterable[int], around: Collection[int] = ()) -> set[int]:
    """The inputs and results that values are computed from in a step, themselves included, on paths
    around some others."""
    first, found, stack = len(program.inputs), set[int](), list(values)
    while stack:
        value = stack.pop()
        if value < 0 or value in found or value in around:
            continue
        found.add(value)
        if value >= first:
            stack.extend(program.operations[value - first].args)
    return found


def remove_dead_code(program: Program) -> Program:
    """The program without statements that no output depends on; all inputs stay."""
    first = len(program.inputs)
    used = needed_by(program, program.outputs)
    keep = [i for i in range(len(program.operations)) if first + i in used]
    return program.rebuilt(frozenset(range(first)), keep)


def remove_dead_state(program: Program) -> Program:
    """The program without dead state variables, nor any statement the update doesn't depend on."""
    first = len(program.inputs)
    live = live_values(program)
    dead = {state for state in program.states if not live[state]}
    keep = [i for i in range(len(program.operations)) if live[first + i]]
    return program.rebuilt(frozenset(range(first)) - dead, keep)
