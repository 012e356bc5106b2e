"""Rebuilding a program operation by operation."""

from collections.abc import Callable, Mapping

from optdsl.ir.builder import Builder
from optdsl.ir.program import Input, Operation, Program

Replacement = Callable[[Builder, Operation, list[int | float]], int | float]
"""(new program's builder, old operation, its operands in the new program) -> the new result."""


def rewrite(
    program: Program,
    replace: Replacement,
    bound: dict[int, float] | None = None,
    added: tuple[Input, ...] = (),
) -> Program:
    """The program with each operation replaced by what `replace` returns for it.

    Args:
        program: the program to read.
        replace: appends operations to the builder, or returns an operand or a constant.
        bound: inputs that become constants.
        added: further state variables, which come last and never change.
    """
    bound = bound or {}
    kept = [i for i in range(len(program.inputs)) if i not in bound]
    inputs: tuple[Input, ...] = tuple(program.inputs[i] for i in kept)
    now: dict[int, int | float] = {old: new for new, old in enumerate(kept)}
    now.update(bound)
    builder = Builder(inputs + added)

    def operand(value: int) -> int | float:
        return now[value] if value >= 0 else program.constants[~value]

    for value, operation in enumerate(program.operations, start=len(program.inputs)):
        args = [operand(arg) for arg in operation.args]
        now[value] = replace(builder, operation, args)
    kept_as_is = range(len(inputs), len(inputs) + len(added))
    outputs = [operand(output) for output in program.outputs]
    return builder.finish([*outputs, *kept_as_is], program.doc)


def keep(builder: Builder, operation: Operation, args: list[int | float]) -> int | float:
    """The replacement that changes nothing."""
    return builder.add(operation.op, args, operation.name)


def take(program: Program, arguments: Mapping[int, int]) -> Program:
    """The program with an argument in place of a result, for each result in `arguments` the one at
    that position."""
    values = iter(range(len(program.inputs), len(program.inputs) + len(program.operations)))

    def taken(builder: Builder, operation: Operation, args: list[int | float]) -> int | float:
        position = arguments.get(next(values))
        return keep(builder, operation, args) if position is None else args[position]

    return rewrite(program, taken)
