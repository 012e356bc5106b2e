"""What a training step costs: bytes read, written and kept, and arithmetic.

Each array is counted once, as if the step were one loop: what is between matrix functions is not.

For each weight (`cost_per_weight`) there are the arrays of the weights' own shapes, on whatever
leaf they are. That is all there is to an elementwise program. Others keep rows, matrices, numbers,
or not the same on every leaf: theirs is the cost of a weight array of a given shape (`leaf_bytes`).
"""

import ast
from collections.abc import Set
from dataclasses import dataclass
from math import prod

from optdsl.ir import Operation, Program, Role
from optdsl.ops import NUMBERS, Kind
from optdsl.ops.kinds import last_scalar
from optdsl.passes.by_leaf import leaf_plans
from optdsl.passes.fold import default_values
from optdsl.passes.infer import infer
from optdsl.passes.pipeline import prepare_with_weights
from optdsl.passes.shapes import Leaf, infer_leaves

ITEM_SIZES = {"bfloat16": 2, "float16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True)
class Bytes:
    """Of one weight array, or for each weight."""

    bytes_read: int
    """Of weights, gradients and live states."""
    bytes_written: int
    """Of weights and of live states that change."""
    bytes_kept: int
    """Of live states, from step to step."""


@dataclass(frozen=True)
class Cost(Bytes):
    """For each weight."""

    arithmetic: int
    """Functions of numbers, a square root or a matrix product as one, and the subtraction from the
    weight."""


def cost_per_weight(program: Program, dtype: str) -> Cost:
    """The cost of a step in arrays of the weights' shapes.

    Args:
        program: a valid program; its hyperparameters are taken to be constants.
        dtype: of weights and gradients, and of states that name none of their own.
    """
    live = prepare_with_weights(program, default_values(program)).program
    kinds = infer(live)
    arrays = {value for value, kind in enumerate(kinds) if kind == Kind.ARRAY}
    moved = _bytes(live, Leaf((), dtype), arrays)
    counted = sum(
        _arithmetic(operation, kinds)
        for value, operation in enumerate(live.operations, start=len(live.inputs))
        if Kind.ARRAY in (kinds[value], *(kinds[arg] for arg in operation.args if arg >= 0))
    )
    return Cost(moved.bytes_read, moved.bytes_written, moved.bytes_kept, counted + 1)


def leaf_bytes(program: Program, leaf: Leaf) -> Bytes:
    """What a step moves and keeps for a weight array that is trained alone and without a label, all
    kinds of state included: what `init` makes for it, but for the step count.

    Args:
        program: a valid program; its hyperparameters are taken to be constants.
        leaf: shape and dtype of the weights and the gradients.
    """
    live = prepare_with_weights(program, default_values(program)).program
    (plan,) = leaf_plans(live, [leaf.shape])
    # Scalars belong to no leaf and are kept whatever the leaves.
    scalars = {state for state in live.states if live.inputs[state].kind == Kind.SCALAR}
    return _bytes(live, leaf, plan.live | scalars)


def bytes_depend_on_shape(program: Program) -> bool:
    """Whether the bytes of weight arrays are not those per weight times the size, single numbers
    aside: where rules by leaf decide, and where rows, columns or matrices are kept."""
    live = prepare_with_weights(program, default_values(program)).program
    kinds = {live.inputs[state].kind for state in live.states}
    decided = leaf_plans(live, [()])[0].chosen
    return bool(decided or kinds - {*NUMBERS, Kind.ARRAY})


def _bytes(live: Program, leaf: Leaf, counted: Set[int]) -> Bytes:
    """Of the weights, and of those gradients and states that are counted."""
    types = infer_leaves(live, [leaf])
    read = {arg for operation in live.operations for arg in operation.args} | set(live.outputs)
    size = _size(leaf)
    gradient = size * any(i in read and i in counted for i in live.with_role(Role.GRADIENT))
    sizes = {state: _size(types[state].leaves[0]) for state in live.states if state in counted}
    kept = sum(sizes.values())
    new = zip(live.states, live.outputs[1:], strict=True)
    written = sum(sizes.get(state, 0) for state, value in new if value != state)
    return Bytes(size + gradient + kept, size + written, kept)


def _size(leaf: Leaf) -> int:
    return prod(leaf.shape) * ITEM_SIZES[leaf.dtype]


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
