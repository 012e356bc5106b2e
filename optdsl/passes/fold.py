"""Constant folding: expressions of constants alone are evaluated once, in double precision.

This is also what they mean: in `(1 - 0.999) * x` the difference is taken in double precision, as
Python takes it, and rounded only where it meets x.
"""

import math
from collections.abc import Mapping

import numpy as np

from optdsl.ir import Builder, Operation, Program, Role, keep, rewrite
from optdsl.ops import Kind, OpDef
from optdsl.passes.infer import infer


def fold_constants(program: Program) -> Program:
    """Replace operations on constants by constants, where the result is finite, and a choice
    between two numbers that constants decide by the one that is chosen."""
    is_choosing = any(op.is_choice for op, _, _ in program.operations)
    kinds = iter(infer(program)[len(program.inputs) :] if is_choosing else ())

    def fold(builder: Builder, operation: Operation, args: list[int | float]) -> int | float:
        kind = next(kinds, None)
        constants = [arg for arg in args if isinstance(arg, float)]
        folded = evaluate(operation.op, constants) if len(constants) == len(args) else None
        if folded is not None:
            return folded
        if operation.op.is_choice and kind == Kind.SCALAR:
            a, b, third, fourth = args
            if isinstance(a, float) and isinstance(b, float):
                return third if evaluate(operation.op, [a, b, 1.0, 0.0]) else fourth
        return keep(builder, operation, args)

    return rewrite(program, fold)


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
    return rewrite(program, keep, bound)


def default_values(program: Program) -> dict[str, float]:
    """The hyperparameters' defaults by name."""
    return {entry.name: entry.default for entry in program.inputs if entry.default is not None}


def evaluate(op: OpDef, args: list[float]) -> float | None:
    """A function of numbers in double precision; None where the result is not finite."""
    with np.errstate(all="ignore"):
        result = float(op.ref(*(np.float64(arg) for arg in args)))
    return result if math.isfinite(result) else None
