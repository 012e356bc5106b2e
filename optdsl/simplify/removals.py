"""What may be tried to make a program smaller: values replaced by simpler ones."""

from collections.abc import Iterator
from dataclasses import replace

from optdsl.ir import Program, Role, keep, operand_text, print_operation, rewrite
from optdsl.ops import BY_NAME, Prop
from optdsl.passes.canonical import canonical_hash
from optdsl.passes.infer import KindError, infer
from optdsl.simplify.formal import size, smallest

SIGN = BY_NAME["sign"]

Removal = tuple[str, Program]
"""What is done, and the program after it and after all formal rewriting."""


def removals(program: Program) -> list[Removal]:
    """All smaller programs that one replacement gives, the smallest first."""
    found: dict[str, Removal] = {}
    for reason, changed in _replacements(program):
        try:
            infer(changed)
        except KindError:
            continue
        changed = smallest(changed)
        if size(changed) < size(program) and _reads_rate(changed) >= _reads_rate(program):
            found.setdefault(canonical_hash(changed), (reason, changed))
    return sorted(found.values(), key=lambda removal: size(removal[1]))


def _replacements(program: Program) -> Iterator[Removal]:
    """A result by an argument, 0, 1 or, of an odd function, a sign; a state by 0 or the gradient.

    A value times a constant is not replaced by the value: this is a rounder constant, and no
    statement that says what else to compute.
    """
    first = len(program.inputs)
    for position, (op, args, _) in enumerate(program.operations):
        statement = print_operation(program, position)
        values = [a if a >= 0 else program.constants[~a] for a in args]
        scales = op.name in ("*", "/") and any(isinstance(value, float) for value in values)
        for instead in (*(() if scales else values), 0.0, 1.0):
            text = _text(program, instead)
            yield f"`{statement}` replaced by {text}", _reading(program, first + position, instead)
        if op.props >= {Prop.ODD, Prop.MONOTONE} and op is not SIGN:
            yield f"`{statement}` replaced by the sign", _as_sign(program, position)
    gradients = program.with_role(Role.GRADIENT)
    for state in program.states:
        for instead in (0.0, *gradients):
            name, text = program.inputs[state].name, _text(program, instead)
            yield f"the state `{name}` replaced by {text}", _reading(program, state, instead)


def _as_sign(program: Program, position: int) -> Program:
    """The program with `sign` in the place of a function that saturates."""
    operations = list(program.operations)
    operations[position] = operations[position]._replace(op=SIGN)
    return replace(program, operations=tuple(operations))


def _reads_rate(program: Program) -> bool:
    """Whether the program has a learning rate: one that has loses it in no simplification."""
    rates = set(program.with_role(Role.LEARNING_RATE))
    read = {arg for operation in program.operations for arg in operation.args}
    return bool(rates & (read | set(program.outputs)))


def _reading(program: Program, value: int, instead: int | float) -> Program:
    """The program with another value, or a constant, read in place of a value."""
    constants = program.constants
    if isinstance(instead, float):
        constants = (*constants, instead)
        operand = ~(len(constants) - 1)
    else:
        operand = instead
    operations = tuple(
        operation._replace(args=tuple(operand if arg == value else arg for arg in operation.args))
        for operation in program.operations
    )
    outputs = tuple(operand if output == value else output for output in program.outputs)
    changed = replace(program, constants=constants, operations=operations, outputs=outputs)
    return rewrite(changed, keep)


def _text(program: Program, value: int | float) -> str:
    name = operand_text(program, value) if isinstance(value, int) else f"{value:.6g}"
    return f"`{name}`"
