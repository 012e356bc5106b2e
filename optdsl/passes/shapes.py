"""Shapes and dtypes of all values for a given weight tree, leaf by leaf.

A scalar is one number; a value of another kind has a block for each leaf (see `ops.kinds`). Every
number that is not in an array of the weights' shapes comes from a reduction, a constant or the
training loop, and is a float32, or a float64 where any weight or gradient is. An argument that is
cast upward takes the dtype of those it is cast to meet; these are promoted as JAX promotes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from optdsl.ir import Program, Role
from optdsl.ops import EXTENTS, NUMBERS, Extent, Kind, OpDef, Over
from optdsl.passes.infer import infer

FLOATS = ("bfloat16", "float16", "float32", "float64")
"""The dtypes that weights can have."""


@dataclass(frozen=True)
class Leaf:
    """Shape and dtype of one array."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ValueType:
    """A value's kind and its blocks; one block for a scalar, else one for each weight array."""

    kind: Kind
    leaves: tuple[Leaf, ...]


class DtypeError(TypeError):
    """A weight or gradient that is not a real floating-point array."""


def infer_leaves(
    program: Program, weights: Sequence[Leaf], gradients: Sequence[Leaf] | None = None
) -> list[ValueType]:
    """The type of every value: the inputs, then the operations' results.

    Args:
        program: a valid program.
        weights: the leaves of the weight tree, in its order; there may be none.
        gradients: the same for the gradients, where their dtypes differ.

    Raises:
        DtypeError: for a leaf that is not of one of FLOATS.
        KindError: if the program is invalid.
    """
    gradients = weights if gradients is None else gradients
    scalar = scalar_dtype([leaf.dtype for leaf in (*weights, *gradients)])
    types: list[ValueType] = []
    kinds = infer(program)
    for entry, kind in zip(program.inputs, kinds, strict=False):
        given = gradients if entry.role is Role.GRADIENT else weights
        if kind == Kind.SCALAR:
            leaves = (Leaf((), entry.dtype or scalar),)
        else:
            dtypes = [
                entry.dtype or (leaf.dtype if kind == Kind.ARRAY else scalar) for leaf in given
            ]
            leaves = tuple(
                Leaf(block_shape(kind, leaf.shape), dtype)
                for leaf, dtype in zip(weights, dtypes, strict=True)
            )
        types.append(ValueType(kind, leaves))
    for value, operation in enumerate(program.operations, start=len(program.inputs)):
        args = [types[arg] for arg in operation.args if arg >= 0]
        types.append(_result(operation.op, kinds[value], args, weights, scalar))
    return types


def scalar_dtype(dtypes: Sequence[str]) -> str:
    """The dtype of numbers that belong to no single weight, for a tree with these dtypes."""
    for dtype in dtypes:
        if dtype not in FLOATS:
            raise DtypeError(
                f"weights and gradients must be real floating-point arrays, not {dtype};"
                " train the others apart, with optax.masked or optax.partition"
            )
    return "float64" if "float64" in dtypes else "float32"


def promote(dtypes: Sequence[str]) -> str:
    """The dtype of an operation on arrays of these, as in JAX."""
    distinct = sorted(set(dtypes), key=FLOATS.index)
    if distinct == ["bfloat16", "float16"]:
        return "float32"
    return distinct[-1]


def matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a weight array seen as a matrix; see `ops.kinds`."""
    return (prod(shape[:-1]), shape[-1]) if shape else (1, 1)


def block_shape(kind: Kind, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a value's block for a weight array of the given shape."""
    if kind == Kind.ARRAY:
        return shape
    if kind in NUMBERS:
        return ()
    rows, columns = matrix_shape(shape)
    lengths = {Extent.ONE: 1, Extent.ROWS: rows, Extent.COLUMNS: columns}
    first, second = EXTENTS[kind]
    return lengths[first], lengths[second]


def _result(
    op: OpDef, kind: Kind, args: list[ValueType], weights: Sequence[Leaf], scalar: str
) -> ValueType:
    if kind == Kind.SCALAR:
        return ValueType(kind, (Leaf((), scalar),))
    blocks = [arg for arg in args if arg.kind != Kind.SCALAR]
    meeting = [] if op.over is Over.MATRIX else [arg for arg in blocks if arg.kind == kind]
    meeting = meeting or blocks
    leaves: list[Leaf] = []
    for i, weight in enumerate(weights):
        reduced = op.over in (Over.ARRAY, Over.ROW, Over.COLUMN, Over.SHAPE)
        dtype = scalar if reduced else promote([arg.leaves[i].dtype for arg in meeting])
        leaves.append(Leaf(block_shape(kind, weight.shape), dtype))
    return ValueType(kind, tuple(leaves))
