"""A program as JAX operations on the leaves of a weight tree: traced, so jitted with what calls it.

Built from the table's expressions (`OpDef.lower` and `OpDef.sums`); `passes/shapes.py` says which
shapes and dtypes come out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from optdsl.ir import Program, Role
from optdsl.ops import Kind, OpDef, Over
from optdsl.ops.expression import lower_function, sum_functions
from optdsl.ops.kinds import broadcast, last_scalar
from optdsl.passes.shapes import (
    Leaf,
    ValueType,
    block_shape,
    infer_leaves,
    matrix_shape,
    scalar_dtype,
)

Blocks = list[Any]
"""One block (an array) for each leaf of the weight tree."""

NO_ORDER: Mapping[int, Sequence[int]] = {}
"""Of values."""


@dataclass(frozen=True)
class Traced:
    """A value while a program is traced: a scalar (an array, or a Python float for a constant)
    or blocks."""

    kind: Kind
    value: Any


def leaf_types(leaves: Sequence[Any]) -> list[Leaf]:
    """The leaves' shapes and dtypes."""
    return [Leaf(tuple(jnp.shape(leaf)), str(jnp.result_type(leaf))) for leaf in leaves]


def zero_state(program: Program, weights: Sequence[Any]) -> dict[str, Any]:
    """Each state variable's first value: a scalar, or blocks."""
    types = infer_leaves(program, leaf_types(weights))
    zeros: dict[str, Any] = {}
    for state in program.states:
        blocks = [jnp.zeros(leaf.shape, leaf.dtype) for leaf in types[state].leaves]
        is_scalar = types[state].kind == Kind.SCALAR
        zeros[program.inputs[state].name] = blocks[0] if is_scalar else blocks
    return zeros


@np.errstate(over="ignore")  # a constant beyond a dtype's range is an infinity of it
def apply_program(
    program: Program,
    weights: Sequence[Any] | None,
    gradients: Sequence[Any],
    state: Mapping[str, Any],
    learning_rate: Any,
    step: Any,
    hyperparameters: Mapping[str, Any],
    order: Mapping[int, Sequence[int]] = NO_ORDER,
) -> tuple[Blocks, dict[str, Any]]:
    """One training step.

    Args:
        program: a program with its constants folded and without dead state.
        weights: the weight leaves; None will do where the program does not read them.
        gradients: the gradient leaves.
        state: as `zero_state` or the last step gave it.
        learning_rate: a number or a scalar array; None where the program does not read it.
        step: the 1-based step count.
        hyperparameters: a number or a scalar array for each hyperparameter.
        order: values to make after others, where arrays are overwritten: see `made_after`.

    Returns:
        The update's blocks in the gradients' dtypes, and the new state in the old one's.
    """
    gradient_types = leaf_types(gradients)
    weight_types = gradient_types if weights is None else leaf_types(weights)
    types = infer_leaves(program, weight_types, gradient_types)
    scalar = scalar_dtype([leaf.dtype for leaf in (*weight_types, *gradient_types)])
    given: dict[Role, Any] = {
        Role.WEIGHT: weights,
        Role.GRADIENT: list(gradients),
        Role.LEARNING_RATE: learning_rate,
        Role.STEP: step,
    }
    traced: list[Traced] = []
    for entry, declared in zip(program.inputs, types, strict=False):
        if entry.role is Role.STATE:
            value = state[entry.name]
        elif entry.role is Role.HYPERPARAMETER:
            value = hyperparameters[entry.name]
        else:
            value = given[entry.role]
        if declared.kind == Kind.SCALAR and value is not None:
            value = jnp.asarray(value, declared.leaves[0].dtype)
        traced.append(Traced(declared.kind, value))

    tracer = _Tracer([leaf.shape for leaf in weight_types], scalar)

    def operand(value: int) -> Traced:
        return traced[value] if value >= 0 else Traced(Kind.SCALAR, program.constants[~value])

    for value, operation in enumerate(program.operations, start=len(program.inputs)):
        args = [operand(arg) for arg in operation.args]
        traced.append(tracer.apply(operation.op, args, types[value]))
        for earlier in order.get(value, ()):
            traced[value] = _made_after(traced[value], traced[earlier])

    update, *new = (operand(output) for output in program.outputs)
    update_blocks = [
        jnp.asarray(block, leaf.dtype)
        for block, leaf in zip(update.value, gradient_types, strict=True)
    ]
    new_state: dict[str, Any] = {}
    for index, value in zip(program.states, new, strict=True):
        new_state[program.inputs[index].name] = tracer.stored(value, types[index])
    return update_blocks, new_state


def _made_after(new: Traced, earlier: Traced) -> Traced:
    """The blocks of `new`, made after a number or after blocks."""
    blocks = [earlier.value] * len(new.value) if earlier.kind == Kind.SCALAR else earlier.value
    return Traced(new.kind, [after(*pair) for pair in zip(new.value, blocks, strict=True)])


def after(new: jax.Array, earlier: jax.Array) -> jax.Array:
    """`new`, bit for bit, but made after `earlier`, a number or an array of the same shape.

    A number equals itself or does not. XLA does not see that, and orders the two loops; LLVM does,
    and reads nothing. Elementwise, so that sharded arrays need no communication for it. An array
    made after itself is a function of two arrays to XLA, so kept and not computed again.
    """
    either = lax.bitwise_or(lax.eq(earlier, earlier), lax.ne(earlier, earlier))
    return lax.select(either, new, lax.full_like(new, 0))


class _Tracer:
    """Applies functions to traced values for one weight tree."""

    def __init__(self, shapes: list[tuple[int, ...]], scalar: str) -> None:
        """`shapes` of the leaves; `scalar` is the dtype of scalars."""
        self.shapes = shapes
        self.scalar = scalar

    def apply(self, op: OpDef, args: list[Traced], result: ValueType) -> Traced:
        """The function's value."""
        match op.over:
            case Over.NOTHING:
                return self._elementwise(op, args, result, [], 1)
            case Over.TREE:
                return self._over_tree(op, args, result)
            case Over.MATRIX:
                return self._on_matrices(op, args, result)
            case Over.ARRAY | Over.ROW | Over.COLUMN:
                return self._over_blocks(op, args[0], result)

    def stored(self, value: Traced, declared: ValueType) -> Any:
        """A value cast to a state variable's kind, shapes and dtypes."""
        if declared.kind == Kind.SCALAR:
            return jnp.asarray(value.value, declared.leaves[0].dtype)
        return [
            jnp.broadcast_to(
                jnp.asarray(self._cast(value, i, declared.kind, leaf.dtype), leaf.dtype), leaf.shape
            )
            for i, leaf in enumerate(declared.leaves)
        ]

    def _elementwise(
        self, op: OpDef, args: list[Traced], result: ValueType, sums: list[Any], n: int
    ) -> Traced:
        lower = lower_function(op)
        if result.kind == Kind.SCALAR:
            values = [self._cast(arg, 0, Kind.SCALAR, self.scalar) for arg in args]
            if all(isinstance(value, float) for value in values):
                values = [jnp.asarray(value, self.scalar) for value in values]
            return Traced(Kind.SCALAR, jnp.asarray(lower(jnp, values, sums, n), self.scalar))
        blocks: Blocks = []
        for i, leaf in enumerate(result.leaves):
            # A sum of squares may be beyond float16's range where no number is.
            dtype = self.scalar if sums else leaf.dtype
            mine = [self._cast(arg, i, result.kind, dtype) for arg in args]
            block = jnp.asarray(lower(jnp, mine, sums, n), leaf.dtype)
            blocks.append(jnp.broadcast_to(block, leaf.shape))
        return Traced(result.kind, blocks)

    def _over_tree(self, op: OpDef, args: list[Traced], result: ValueType) -> Traced:
        bounded = op.rule is last_scalar
        added = args[:1] if bounded else args
        common = broadcast(tuple(arg.kind for arg in added))
        assert isinstance(common, Kind)
        functions = sum_functions(op)
        totals = [jnp.zeros((), self.scalar) for _ in functions]
        n = 0
        for i, shape in enumerate(self.shapes if common != Kind.SCALAR else [()]):
            full = block_shape(common, shape)
            mine = [
                jnp.broadcast_to(self._cast(arg, i, common, self.scalar), full) for arg in added
            ]
            n += prod(full)
            for j, function in enumerate(functions):
                totals[j] = totals[j] + jnp.sum(function(jnp, mine))
        if bounded:
            return self._elementwise(op, args, result, totals, n)
        value = lower_function(op)(jnp, [None] * len(args), totals, n)
        return Traced(Kind.SCALAR, jnp.asarray(value, self.scalar))

    def _over_blocks(self, op: OpDef, arg: Traced, result: ValueType) -> Traced:
        axis = {Over.ROW: 1, Over.COLUMN: 0}.get(op.over)
        blocks: Blocks = []
        for i, shape in enumerate(self.shapes if arg.kind != Kind.SCALAR else [()]):
            block = jnp.asarray(self._cast(arg, i, arg.kind, self.scalar), self.scalar)
            if axis is not None:
                block = block.reshape(_matrix(arg.kind, shape))
            n = block.size if axis is None else block.shape[axis]
            sums = [
                jnp.sum(function(jnp, [block]), axis=axis, keepdims=axis is not None)
                for function in sum_functions(op)
            ]
            total = jnp.asarray(lower_function(op)(jnp, [None], sums, n), self.scalar)
            blocks.append(total.reshape(result.leaves[i].shape))
        return Traced(result.kind, blocks if result.kind != Kind.SCALAR else blocks[0])

    def _on_matrices(self, op: OpDef, args: list[Traced], result: ValueType) -> Traced:
        blocks: Blocks = []
        for i, (leaf, shape) in enumerate(zip(result.leaves, self.shapes, strict=True)):
            mine = [
                jnp.asarray(arg.value[i], leaf.dtype).reshape(_matrix(arg.kind, shape))
                for arg in args
            ]
            blocks.append(jnp.reshape(lower_function(op)(jnp, mine), leaf.shape))
        return Traced(result.kind, blocks)

    def _cast(self, arg: Traced, i: int, kind: Kind, dtype: str) -> Any:
        """Block i of a value cast upward to another kind and a dtype.

        What broadcasting will do anyway is left to it. Constants stay Python floats, exact until
        they meet an array.
        """
        if isinstance(arg.value, float):
            return arg.value
        if arg.kind == Kind.SCALAR:
            return jnp.asarray(arg.value, dtype)
        block = jnp.asarray(arg.value[i], dtype)
        if kind == Kind.ARRAY and arg.kind not in (Kind.ARRAY, Kind.PER_ARRAY):
            block = jnp.broadcast_to(block, matrix_shape(self.shapes[i])).reshape(self.shapes[i])
        return block


def _matrix(kind: Kind, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The two-dimensional shape of a block."""
    return matrix_shape(shape) if kind == Kind.ARRAY else block_shape(kind, shape) or (1, 1)
