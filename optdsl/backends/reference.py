"""The reference: a program run statement by statement in NumPy, written to be obviously right.

It uses each function's own `ref`, not the expressions that the other lowerings share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import ml_dtypes
import numpy as np

from optdsl.ir import Program, Role
from optdsl.ops import Kind, OpDef, Over
from optdsl.ops.kinds import broadcast, last_scalar
from optdsl.passes.by_leaf import LABEL
from optdsl.passes.fold import bind, default_values, evaluate, fold_constants
from optdsl.passes.live import remove_dead_state
from optdsl.passes.shapes import (
    Leaf,
    ValueType,
    block_shape,
    infer_leaves,
    matrix_shape,
    scalar_dtype,
)

Array = Any
Blocks = list[Array]
"""One block for each weight array."""

DTYPES = {"bfloat16": np.dtype(ml_dtypes.bfloat16)} | {
    name: np.dtype(name) for name in ("float16", "float32", "float64")
}


@dataclass(frozen=True)
class Step:
    """What one training step gives: the update, and the state variables' new values by name."""

    update: Blocks
    state: dict[str, Blocks]


@np.errstate(all="ignore")  # infinities and NaN are results like others
def reference_step(
    program: Program,
    weights: Sequence[Array],
    gradients: Sequence[Array],
    state: Mapping[str, Blocks] | None,
    learning_rate: float = 1.0,
    step: int = 1,
    hyperparameters: Mapping[str, float] | None = None,
    labels: Sequence[float] | None = None,
) -> Step:
    """Run one step.

    Args:
        program: a valid program; what its update does not depend on is left out.
        weights: the leaves of the weight tree.
        gradients: the gradients, of the same shapes.
        state: what the last step gave; None before the first.
        learning_rate: the input `lr`.
        step: the input `step`, 1 at the first.
        hyperparameters: values other than the defaults, by name.
        labels: of the leaves; None where all are 0.
    """
    values = default_values(program) | dict(hyperparameters or {})
    program = fold_constants(bind(remove_dead_state(program), values))
    weights, gradients = [np.asarray(w) for w in weights], [np.asarray(g) for g in gradients]
    leaves = [Leaf(w.shape, str(w.dtype)) for w in weights]
    types = infer_leaves(program, leaves, [Leaf(g.shape, str(g.dtype)) for g in gradients])
    scalar = DTYPES[scalar_dtype([str(leaf.dtype) for leaf in (*weights, *gradients)])]
    shapes = [leaf.shape for leaf in leaves]
    results: list[Array | Blocks] = []
    for entry, value in zip(program.inputs, types, strict=False):
        match entry.role:
            case Role.WEIGHT:
                results.append(weights)
            case Role.GRADIENT:
                results.append(gradients)
            case Role.LEARNING_RATE:
                results.append(_scalar(learning_rate, value))
            case Role.STEP:
                results.append(_scalar(step, value))
            case _ if state is not None:
                kept = state[entry.name]
                results.append(kept[0] if value.kind == Kind.SCALAR else kept)
            case _:
                zeros = [np.zeros(leaf.shape, DTYPES[leaf.dtype]) for leaf in value.leaves]
                results.append(zeros[0] if value.kind == Kind.SCALAR else zeros)

    def operand(value: int) -> tuple[Array | Blocks, Kind]:
        if value < 0:
            return program.constants[~value], Kind.SCALAR
        return results[value], types[value].kind

    for i, operation in enumerate(program.operations, start=len(program.inputs)):
        args = [operand(arg) for arg in operation.args]
        if operation.op is LABEL:
            results.append([float(label) for label in labels or [0.0] * len(shapes)])
            continue
        results.append(_apply(operation.op, args, types[i], shapes, scalar))
    outputs = [operand(output) for output in program.outputs]
    update = [np.asarray(block, g.dtype) for block, g in zip(outputs[0][0], gradients, strict=True)]
    new: dict[str, Blocks] = {}
    for index, (value, kind) in zip(program.states, outputs[1:], strict=True):
        declared = types[index]
        blocks = [value] if declared.kind == Kind.SCALAR else _blocks(value, kind, len(shapes))
        new[program.inputs[index].name] = [
            np.array(
                np.broadcast_to(_cast(block, kind, declared.kind, shape), leaf.shape),
                DTYPES[leaf.dtype],
            )
            for block, leaf, shape in zip(blocks, declared.leaves, shapes or [()], strict=False)
        ]
    return Step(update, new)


def _apply(
    op: OpDef,
    args: list[tuple[Any, Kind]],
    result: ValueType,
    shapes: list[tuple[int, ...]],
    scalar: np.dtype[Any],
) -> Array | Blocks:
    """One operation on whole values; `scalar` is the dtype of scalars."""
    values = [value for value, _ in args]
    if result.kind == Kind.PER_ARRAY:
        numbers = _of_shapes(op, args, shapes)
        if numbers is not None:
            return numbers
    if result.kind == Kind.SCALAR and op.over in (Over.NOTHING, Over.ARRAY):
        if all(type(value) is float for value in values):  # not folded: the result is not finite
            values = [np.asarray(value, scalar) for value in values]
        return _flush(np.asarray(op.ref(*[_exact(v, scalar) for v in values]), scalar))
    if op.over is Over.TREE:
        return _over_tree(op, args, result, shapes, scalar)
    blocks = [_blocks(value, kind, len(shapes)) for value, kind in args]
    results: Blocks = []
    for i, (leaf, shape) in enumerate(zip(result.leaves, shapes, strict=True)):
        dtype = DTYPES[leaf.dtype]
        if op.over is Over.NOTHING:
            mine = [
                _cast(b[i], kind, result.kind, shape)
                for b, (_, kind) in zip(blocks, args, strict=True)
            ]
        else:
            mine = [
                np.asarray(b[i]).reshape(_matrix(kind, shape))
                for b, (_, kind) in zip(blocks, args, strict=True)
            ]
        if dtype == DTYPES["bfloat16"] and op.rule is not last_scalar:
            # Where a Python float meets an array, NumPy rounds it to the array's dtype, but for
            # this one: 0.999 ** x would not be 1.0 ** x.
            mine = [np.asarray(m, dtype) for m in mine]
        block = op.ref(*[_exact(m, dtype) for m in mine])
        full = block_shape(result.kind, shape)
        block = np.broadcast_to(block, full) if op.over is Over.NOTHING else np.reshape(block, full)
        results.append(_flush(np.asarray(block, dtype)))
    return results


def _of_shapes(
    op: OpDef, args: list[tuple[Any, Kind]], shapes: list[tuple[int, ...]]
) -> Blocks | None:
    """Numbers that depend on shapes alone: Python's floats, exact as constants are."""
    if op.over is Over.SHAPE:
        return [float(op.ref(np.broadcast_to(0, shape))) for shape in shapes]
    columns = [_blocks(value, kind, len(shapes)) for value, kind in args]
    if op.over is not Over.NOTHING or any(type(x) is not float for x in chain(*columns)):
        return None
    results = [evaluate(op, list(numbers)) for numbers in zip(*columns, strict=True)]
    return None if None in results else results


def _over_tree(
    op: OpDef,
    args: list[tuple[Any, Kind]],
    result: ValueType,
    shapes: list[tuple[int, ...]],
    dtype: np.dtype[Any],
) -> Array | Blocks:
    """A function of all numbers of a value as one vector, in the dtype of scalars."""
    bounded = op.rule is last_scalar
    common = broadcast(tuple(kind for _, kind in (args[:1] if bounded else args)))
    assert isinstance(common, Kind)
    vectors: list[Array] = []
    for value, kind in args:
        if bounded and vectors:
            vectors.append(_exact(value, dtype))
        elif common == Kind.SCALAR:
            vectors.append(np.asarray([value], dtype))
        else:
            parts = [
                np.broadcast_to(_cast(block, kind, common, shape), block_shape(common, shape))
                for block, shape in zip(_blocks(value, kind, len(shapes)), shapes, strict=True)
            ]
            flat = [np.asarray(part, dtype).ravel() for part in parts]
            vectors.append(np.concatenate([np.zeros(0, dtype), *flat]))
    answer = op.ref(*vectors)
    if not bounded:
        return _flush(np.asarray(answer, dtype))
    if result.kind == Kind.SCALAR:
        return _flush(np.asarray(answer[0], dtype))
    ends = np.cumsum([np.size(np.empty(leaf.shape)) for leaf in result.leaves])
    pieces = np.split(answer, ends[:-1]) if shapes else []
    return [
        _flush(np.asarray(piece.reshape(leaf.shape), DTYPES[leaf.dtype]))
        for piece, leaf in zip(pieces, result.leaves, strict=True)
    ]


def _exact(value: Any, dtype: np.dtype[Any]) -> Any:
    """A number or block in the working dtype; Python's floats stay exact until they meet one."""
    return value if type(value) is float else np.asarray(value, dtype)


def _scalar(value: float, declared: ValueType) -> Array:
    return np.asarray(value, DTYPES[declared.leaves[0].dtype])


def _blocks(value: Any, kind: Kind, count: int) -> Blocks:
    return [value] * count if kind == Kind.SCALAR else value


def _matrix(kind: Kind, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The two-dimensional shape of a block."""
    return matrix_shape(shape) if kind == Kind.ARRAY else block_shape(kind, shape) or (1, 1)


def _cast(block: Any, kind: Kind, to: Kind, shape: tuple[int, ...]) -> Any:
    """A block cast upward to another kind."""
    if kind == to or type(block) is float:
        return block
    if to == Kind.ARRAY and kind != Kind.SCALAR:
        return np.broadcast_to(block, matrix_shape(shape)).reshape(shape)
    return np.broadcast_to(block, block_shape(to, shape))


def _flush(block: Array) -> Array:
    """Numbers below the smallest normal one become zero, as on XLA's CPU and TPU."""
    tiny = ml_dtypes.finfo(block.dtype).tiny
    return np.where(np.abs(block) < tiny, np.copysign(np.zeros_like(block), block), block)
