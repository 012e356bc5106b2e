"""Common subexpressions: what is computed twice is computed once, states included.

Two states are merged if they are equal at every step: all of a kind are assumed equal at first, and
those whose new values differ under the assumption are told apart, until nothing splits (as in
`hashing.py`). Equal means the same function of the same arguments: bitwise.
"""

import struct

from optdsl.ir import Builder, Operation, Program, keep, rewrite


def merge_equal(program: Program) -> Program:
    """The program with each expression computed once, and none of several equal states read but
    the first."""
    classes: dict[int, object] = {
        state: (entry.kind, entry.dtype)
        for state in program.states
        for entry in (program.inputs[state],)
    }
    count = 0
    while count != len(set(classes.values())):
        count = len(set(classes.values()))
        numbers = _numbers(program, classes)
        new = dict(zip(program.states, program.outputs[1:], strict=True))
        classes = {s: (classes[s], _operand(program, numbers, new[s])) for s in program.states}
        # Numbers stand for the nested pairs, which would grow.
        order = {value: i for i, value in enumerate(dict.fromkeys(classes.values()))}
        classes = {state: order[value] for state, value in classes.items()}
    return _rewritten(program, _numbers(program, classes))


def _numbers(program: Program, classes: dict[int, object]) -> list[int]:
    """For each value, the first one equal to it."""
    known: dict[object, int] = {}
    numbers: list[int] = []
    for i in range(len(program.inputs)):
        key = ("state", classes[i]) if i in classes else i
        numbers.append(known.setdefault(key, i))
    for value, (op, args, _) in enumerate(program.operations, start=len(program.inputs)):
        operands = [_operand(program, numbers, arg) for arg in args]
        if op.commutative:
            operands.sort(key=repr)
        numbers.append(known.setdefault((op.name, *operands), value))
    return numbers


def _operand(program: Program, numbers: list[int], operand: int) -> object:
    if operand >= 0:
        return numbers[operand]
    return struct.pack("<d", program.constants[~operand])


def _rewritten(program: Program, numbers: list[int]) -> Program:
    """The program with every value read replaced by the first one equal to it."""
    first = len(program.inputs)
    results: list[int | float] = list(range(first))

    def replace(builder: Builder, operation: Operation, args: list[int | float]) -> int | float:
        value = len(results)
        mine = numbers[value]
        if mine == value:
            results.append(keep(builder, operation, args))
        else:
            results.append(results[mine])
        return results[-1]

    merged = {i: numbers[i] for i in range(first) if numbers[i] != i}
    operations = tuple(
        operation._replace(args=tuple(merged.get(arg, arg) for arg in operation.args))
        for operation in program.operations
    )
    outputs = tuple(merged.get(output, output) for output in program.outputs)
    changed = Program(program.inputs, program.constants, operations, outputs, program.doc)
    return rewrite(changed, replace)
