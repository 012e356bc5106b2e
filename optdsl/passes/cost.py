"""What a training step costs for each weight: bytes read, written and kept, and arithmetic.

Each array is counted once, as if the step were one loop. What there is one of for a whole array, a
row or a column is not counted.
"""

import ast
from dataclasses import dataclass

from optdsl.ir import Operation, Program, Role
from optdsl.ops import Kind
from optdsl.ops.kinds import last_scalar
from optdsl.passes.infer import infer
from optdsl.passes.pipeline import prepare

ITEM_SIZES = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True)
class Cost:
    """For each weight."""

    bytes_read: float
    """Of weights, gradients and live states."""
    bytes_written: float
    """Of weights and live states."""
    bytes_kept: float
    """Of live states, from step to step."""
    arithmetic: int
    """Functions of numbers, a square root as one, and the subtraction from the weight."""


def cost_per_weight(program: Program, dtype: str) -> Cost:
    """The cost of a step.

    Args:
        program: a valid program; its hyperparameters are taken to be constants.
        dtype: of weights and gradients, and of states that name none of their own.
    """
    live = prepare(program, {e.name: e.default for e in program.inputs if e.default is not None})
    size = ITEM_SIZES[dtype]
    read = {arg for operation in live.operations for arg in operation.args} | set(live.outputs)
    kept = sum(
        ITEM_SIZES[live.inputs[state].dtype or dtype]
        for state in live.states
        if live.inputs[state].kind == Kind.ARRAY
    )
    gradient = size * any(i in read for i in live.with_role(Role.GRADIENT))
    kinds = infer(live)
    counted = sum(
        _arithmetic(operation, kinds)
        for value, operation in enumerate(live.operations, start=len(live.inputs))
        if Kind.ARRAY in (kinds[value], *(kinds[arg] for arg in operation.args if arg >= 0))
    )
    return Cost(size + gradient + kept, size + kept, kept, counted + 1)


def _arithmetic(operation: Operation, kinds: list[Kind]) -> int:
    """The functions of numbers in an operation on arrays, read off the table's expressions."""
    op, args, _ = operation
    arrays = {f"_{name}" for name, arg in zip(op.args, args, strict=True) if _is_array(arg, kinds)}
    if op.rule is last_scalar and op.sums:
        arrays = {f"_{op.args[0]}"}
    sums = sum(1 + _functions(expression, op.args, arrays) for expression in op.sums)
    return sums + _functions(op.lower, op.args, arrays)


def _is_array(arg: int, kinds: list[Kind]) -> bool:
    return arg >= 0 and kinds[arg] == Kind.ARRAY


def _functions(expression: str, args: tuple[str, ...], arrays: set[str]) -> int:
    """How many operators and calls of an expression have an array among their operands."""
    places = {name: f"_{name}" for name in args} | {f"s{i}": f"_s{i}" for i in range(9)}
    tree = ast.parse(expression.format(**places, n="_n"), mode="eval").body

    def count(node: ast.expr) -> tuple[int, bool]:
        if isinstance(node, ast.Name):
            return 0, node.id in arrays
        inner = [count(n) for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr)]
        has_array = any(array for _, array in inner)
        is_function = isinstance(node, ast.BinOp | ast.Call | ast.Compare | ast.UnaryOp)
        return sum(n for n, _ in inner) + (is_function and has_array), has_array

    return count(tree)[0]
