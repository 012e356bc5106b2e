"""Constant folding: expressions of constants alone are evaluated once, in double precision.

This is also what they mean: in `(1 - 0.999) * x` the difference is taken in double precision, as
Python takes it, and rounded only where it meets x.
"""

import math
from collections.abc import Mapping

import numpy as np

from optdsl.ir import Builder, Program, Role
from optdsl.ops import OpDef


def fold_constants(program: Program) -> Program:
    """Replace operations on constants by constants, where the result is finite."""
    builder = Builder(program.inputs)
    now: dict[int, int | float] = {i: i for i in range(len(program.inputs))}

    def operand(value: int) -> int | float:
        return now[value] if value >= 0 else program.constants[~value]

    for value, operation in enumerate(program.operations, start=len(program.inputs)):
        args = [operand(arg) for arg in operation.args]
        constants = [arg for arg in args if isinstance(arg, float)]
        folded = evaluate(operation.op, constants) if len(constants) == len(args) else None
        now[value] = folded if folded is not None else builder.add(
            operation.op, args, operation.name
        )  # fmt: skip
    return builder.finish([operand(output) for output in program.outputs], program.doc)


def bind(program: Program, values: Mapping[str, float]) -> Program:
    """Replace hyperparameters by constants.

    Args:
        program: any program.
        values: finite values by hyperparameter name; the others stay inputs.
    """
    bound = {
        i: float(values[entry.name])
        for i, entry in enumerate(program.inputs)
        if entry.role is Role.HYPERPARAMETER and entry.name in values
    }
    inputs = tuple(entry for i, entry in enumerate(program.inputs) if i not in bound)
    kept = [i for i in range(len(program.inputs)) if i not in bound]
    now: dict[int, int | float] = {old: new for new, old in enumerate(kept)} | bound
    builder = Builder(inputs)

    def operand(value: int) -> int | float:
        return now[value] if value >= 0 else program.constants[~value]

    for value, operation in enumerate(program.operations, start=len(program.inputs)):
        args = [operand(arg) for arg in operation.args]
        now[value] = builder.add(operation.op, args, operation.name)
    return builder.finish([operand(output) for output in program.outputs], program.doc)


def default_values(program: Program) -> dict[str, float]:
    """The hyperparameters' defaults by name."""
    return {entry.name: entry.default for entry in program.inputs if entry.default is not None}


def evaluate(op: OpDef, args: list[float]) -> float | None:
    """A function of numbers in double precision; None where the result is not finite."""
    with np.errstate(all="ignore"):
        result = float(op.ref(*(np.float64(arg) for arg in args)))
    return result if math.isfinite(result) else None


