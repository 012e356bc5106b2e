"""The functions of the table on traced values: JAX operations, leaf by leaf of a weight tree.

Built from the table's expressions (`OpDef.lower` and `OpDef.sums`); `passes/shapes.py` says which
shapes and dtypes come out, and `passes/by_leaf.py` on which leaves a value is computed at all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import core

from optdsl.backends.placement import reshaped, whole
from optdsl.ops import BY_LINE, Kind, OpDef, Over
from optdsl.ops.expression import lower_function, sum_functions
from optdsl.ops.kinds import broadcast, last_scalar
from optdsl.passes.by_leaf import LeafPlan
from optdsl.passes.shapes import Leaf, ValueType, block_shape, matrix_shape

NOTHING = optax.MaskedNode()
"""Stands for a block that no update depends on: a tree without arrays, so without bytes."""


def is_nothing(block: Any) -> bool:
    """Whether it stands for no block; trees are rebuilt by JAX, so not by identity."""
    return isinstance(block, optax.MaskedNode)


Blocks = list[Any]
"""One block for each leaf of the weight tree: an array, a Python float where it is known from the
leaf's shape, or NOTHING."""


@dataclass(frozen=True)
class Traced:
    """A value while a program is traced: a scalar (an array, or a Python float for a constant)
    or blocks."""

    kind: Kind
    value: Any


@dataclass(frozen=True)
class Tracer:
    """Applies functions to traced values for one weight tree."""

    shapes: list[tuple[int, ...]]
    """Of the leaves."""
    plans: list[LeafPlan]
    """What is computed on each leaf."""
    scalar: str
    """The dtype of scalars."""

    def apply(self, value: int, op: OpDef, args: list[Traced], result: ValueType) -> Traced:
        """The function's value; `value` is its number in the program."""
        if self.plans and not any(value in plan.live for plan in self.plans):
            if result.kind == Kind.SCALAR:
                return Traced(Kind.SCALAR, NOTHING)
            return self._each(value, result, lambda i: NOTHING)
        match op.over:
            case Over.NOTHING:
                return self._elementwise(value, op, args, result, [], 1)
            case Over.TREE:
                return self._over_tree(value, op, args, result)
            case Over.MATRIX:
                return self._each(value, result, self._on_matrices(op, args, result))
            case Over.ARRAY | Over.ROW | Over.COLUMN:
                reduce = self._reduction(op, args[0], result)
                if result.kind == Kind.SCALAR:
                    return Traced(Kind.SCALAR, reduce(0))
                return self._each(value, result, reduce)
            case Over.SHAPE:
                return self._each(value, result, lambda i: NOTHING)

    def stored(self, state: int, value: Traced, declared: ValueType) -> Any:
        """A value cast to the kind, shapes and dtypes of the state variable `state`."""
        if declared.kind == Kind.SCALAR:
            return jnp.asarray(value.value, declared.leaves[0].dtype)

        def one(i: int) -> Any:
            leaf = declared.leaves[i]
            return _as_leaf(self._cast(value, i, declared.kind, leaf.dtype), leaf)

        return self._each(state, declared, one).value

    def _each(self, value: int, result: ValueType, one: Callable[[int], Any]) -> Traced:
        """The blocks of a value: `one(i)` on the leaves that need it computed."""
        blocks = [
            one(i) if value in plan.live else plan.known.get(value, NOTHING)
            for i, plan in enumerate(self.plans)
        ]
        return Traced(result.kind, blocks)

    def _elementwise(
        self,
        value: int,
        op: OpDef,
        args: list[Traced],
        result: ValueType,
        sums: list[Any],
        n: int,
    ) -> Traced:
        lower = lower_function(op)
        if result.kind == Kind.SCALAR:
            values = [self._cast(arg, 0, Kind.SCALAR, self.scalar) for arg in args]
            if all(isinstance(value, float) for value in values):
                values = [jnp.asarray(value, self.scalar) for value in values]
            return Traced(Kind.SCALAR, jnp.asarray(lower(jnp, values, sums, n), self.scalar))

        # Rows and columns meet an array as a matrix: what a vector's columns become is then of
        # their own shape, and written in their place.
        as_matrix = result.kind == Kind.ARRAY and any(arg.kind in BY_LINE for arg in args)

        def one(i: int) -> Any:
            leaf, chosen = result.leaves[i], self.plans[i].chosen.get(value)
            # A sum of squares may be beyond float16's range where no number is.
            dtype = self.scalar if sums else leaf.dtype
            if chosen is not None:
                return _as_leaf(self._cast(args[chosen], i, result.kind, dtype), leaf)
            mine = [self._operand(arg, i, dtype, as_matrix) for arg in args]
            if all(isinstance(number, float) for number in mine):
                mine = [jnp.asarray(number, dtype) for number in mine]
            block = lower(jnp, mine, sums, n)
            return _as_leaf(reshaped(block, leaf.shape) if as_matrix else block, leaf)

        return self._each(value, result, one)

    def _over_tree(self, value: int, op: OpDef, args: list[Traced], result: ValueType) -> Traced:
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
            return self._elementwise(value, op, args, result, totals, n)
        total = lower_function(op)(jnp, [None] * len(args), totals, n)
        return Traced(Kind.SCALAR, jnp.asarray(total, self.scalar))

    def _reduction(self, op: OpDef, arg: Traced, result: ValueType) -> Callable[[int], Any]:
        """A function that adds up a block, its rows or its columns."""
        axis = {Over.ROW: 1, Over.COLUMN: 0}.get(op.over)

        def one(i: int) -> Any:
            block = jnp.asarray(self._cast(arg, i, arg.kind, self.scalar), self.scalar)
            if axis is not None:
                block = reshaped(block, _matrix(arg.kind, self.shapes[i]))
            n = block.size if axis is None else block.shape[axis]
            sums = [
                jnp.sum(function(jnp, [block]), axis=axis, keepdims=axis is not None)
                for function in sum_functions(op)
            ]
            total = jnp.asarray(lower_function(op)(jnp, [None], sums, n), self.scalar)
            return reshaped(total, result.leaves[i].shape)

        return one

    def _on_matrices(
        self, op: OpDef, args: list[Traced], result: ValueType
    ) -> Callable[[int], Any]:
        """A function that takes the matrix views of a leaf's blocks."""

        def view(arg: Traced, i: int, dtype: str) -> Any:
            if arg.kind == Kind.SCALAR:
                return self._cast(arg, i, Kind.SCALAR, dtype)
            block = whole(jnp.asarray(arg.value[i], dtype))
            return block.reshape(_matrix(arg.kind, self.shapes[i]))

        def one(i: int) -> Any:
            leaf = result.leaves[i]
            mine = [view(arg, i, leaf.dtype) for arg in args]
            return jnp.reshape(lower_function(op)(jnp, mine), leaf.shape)

        return one

    def _operand(self, arg: Traced, i: int, dtype: str, as_matrix: bool) -> Any:
        """Block i of a value, to compute with blocks of an array or, `as_matrix`, of a matrix."""
        if arg.kind in BY_LINE:
            return _in_dtype(arg.value[i], dtype)
        block = self._cast(arg, i, arg.kind, dtype)
        if as_matrix and arg.kind == Kind.ARRAY and not isinstance(block, float):
            return reshaped(block, matrix_shape(self.shapes[i]))
        return block

    def _cast(self, arg: Traced, i: int, kind: Kind, dtype: str) -> Any:
        """Block i of a value cast upward to another kind and a dtype.

        What broadcasting will do anyway is left to it. Constants, and numbers known from shapes,
        stay Python floats, exact until they meet an array.
        """
        block = arg.value if arg.kind == Kind.SCALAR else arg.value[i]
        if isinstance(block, float):
            return block
        block = _in_dtype(block, dtype)
        if kind == Kind.ARRAY and arg.kind not in (Kind.SCALAR, Kind.ARRAY, Kind.PER_ARRAY):
            block = reshaped(jnp.broadcast_to(block, matrix_shape(self.shapes[i])), self.shapes[i])
        return block


def _matrix(kind: Kind, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The two-dimensional shape of a block."""
    return matrix_shape(shape) if kind == Kind.ARRAY else block_shape(kind, shape) or (1, 1)


def _in_dtype(value: Any, dtype: str) -> Any:
    """An array in a dtype: itself if it has it, since a tree has many leaves to trace."""
    if isinstance(value, core.Tracer | jax.Array) and _name(value.dtype) == dtype:
        return jnp.asarray(value, dtype) if value.weak_type else value
    return jnp.asarray(value, dtype)


@cache
def _name(dtype: Any) -> str:
    return dtype.name


def _as_leaf(block: Any, leaf: Leaf) -> Any:
    """A block in the dtype and shape of a leaf."""
    block = _in_dtype(block, leaf.dtype)
    return block if block.shape == leaf.shape else jnp.broadcast_to(block, leaf.shape)
