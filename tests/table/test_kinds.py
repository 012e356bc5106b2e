"""Each row's kind rule against the shapes that its `ref` really gives on blocks."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from optdsl.ops import EXTENTS, OPS, Extent, Kind, Mismatch, OpDef, Over, castable, join
from optdsl.ops.kinds import square

LENGTHS = {Extent.ONE: 1, Extent.ROWS: 3, Extent.COLUMNS: 5}
"""Different lengths, so that a shape tells the kind."""

SHAPES = {kind: tuple(LENGTHS[extent] for extent in extents) for kind, extents in EXTENTS.items()}
KIND_OF = {shape: kind for kind, shape in SHAPES.items()}

SCALAR_ARGUMENT = {"interpolate": 2, "clip_by_global_norm": 1, "inverse_root": 1}
"""Arguments that must be scalars, the first two by appendix H."""

FEW = (Kind.SCALAR, Kind.PER_ARRAY, Kind.PER_ROW, Kind.PER_COLUMN, Kind.ARRAY, Kind.TRANSPOSED)


def name(op: OpDef) -> str:
    return op.name


def common_shape(kinds: tuple[Kind, ...]) -> tuple[int, ...] | None:
    """The shape that blocks of these kinds have together; () for scalars, None for none."""
    blocks = [SHAPES[kind] for kind in kinds if kind != Kind.SCALAR]
    try:
        return np.broadcast_shapes(*blocks)
    except ValueError:
        return None


def expected(op: OpDef, kinds: tuple[Kind, ...]) -> Kind | None:
    """The result's kind by NumPy's shapes; None where there is none."""
    position = SCALAR_ARGUMENT.get(op.name)
    if position is not None:
        if kinds[position] != Kind.SCALAR:
            return None
        kinds = kinds[:position] + kinds[position + 1 :]
    shape = common_shape(kinds)
    if op.over is Over.ARRAY:
        return min(kinds[0], Kind.PER_ARRAY)
    if op.over is Over.SHAPE:
        return Kind.PER_ARRAY if kinds[0] == Kind.ARRAY else None
    if op.rule is square and (shape == () or shape[0] != shape[-1]):
        return None
    if op.over in (Over.ROW, Over.COLUMN, Over.MATRIX):
        return None if Kind.SCALAR in kinds else kind_by_running(op, kinds)
    if shape is None:
        return None
    if shape == () or (op.over is Over.TREE and op.name != "clip_by_global_norm"):
        return Kind.SCALAR
    return KIND_OF.get(shape)


def kind_by_running(op: OpDef, kinds: tuple[Kind, ...]) -> Kind | None:
    try:
        scalars = [2.0] * (len(op.args) - len(kinds))
        result: Any = op.ref(*[np.ones(SHAPES[kind]) for kind in kinds], *scalars)
    except ValueError:
        return None
    return KIND_OF.get(result.shape)


@pytest.mark.parametrize("op", OPS, ids=name)
def test_the_kind_is_that_of_the_shape_computed(op: OpDef) -> None:
    each = tuple(Kind) if len(op.args) < 4 else FEW
    for kinds in product(each, repeat=len(op.args)):
        found = op.kind(kinds)
        wanted = expected(op, kinds)
        if wanted is None:
            assert isinstance(found, Mismatch), (op.name, kinds, found)
            assert 0 <= found.argument < len(op.args)
            assert found.wanted
        else:
            assert found == wanted, (op.name, kinds)


@pytest.mark.parametrize("op", [op for op in OPS if op.over is Over.NOTHING], ids=name)
def test_elementwise_refs_give_blocks_of_the_kind(op: OpDef) -> None:
    for kinds in product(FEW, repeat=len(op.args)):
        kind = op.kind(kinds)
        if isinstance(kind, Mismatch):
            continue
        blocks = [np.float32(1) if k == Kind.SCALAR else np.ones(SHAPES[k]) for k in kinds]
        with np.errstate(all="ignore"):
            shape = np.shape(op.ref(*blocks))
        assert shape == (() if kind == Kind.SCALAR else SHAPES[kind])


@pytest.mark.parametrize(("x", "y"), list(product(Kind, repeat=2)))
def test_casts_are_broadcasts_upward(x: Kind, y: Kind) -> None:
    shape = common_shape((x, y))
    joined = join(x, y)
    assert joined == join(y, x)
    if x == y == Kind.SCALAR:
        assert joined == Kind.SCALAR
    elif shape is None or shape not in KIND_OF:
        assert joined is None
    else:
        assert joined == KIND_OF[shape]
    assert castable(x, y) == (joined == y)


def test_the_order_of_the_design() -> None:
    chain = (Kind.SCALAR, Kind.PER_ARRAY, Kind.PER_ROW, Kind.ARRAY)
    for i, low in enumerate(chain):
        for j, high in enumerate(chain):
            assert castable(low, high) == (i <= j)
    assert castable(Kind.PER_COLUMN, Kind.ARRAY)
    assert join(Kind.PER_ROW, Kind.PER_COLUMN) == Kind.ARRAY
