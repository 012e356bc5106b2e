"""Kinds: what a value is, known without a weight tree; the rules by which functions map them.

A value is one number (`scalar`) or holds, for each weight array, a block of numbers. A weight
array of shape (..., c) is seen as a matrix of r = prod(...) rows and c columns (a vector as one
row, a number as 1 by 1), and a block has one of the extents 1, rows or columns in each of its
two dimensions. `per_array` is a 1 by 1 block, `array` a block of the weight's own shape.

Casts go upward only: `scalar < per_array < per_row, per_column < array`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """The kind of a value; an `int`, so that tables keyed by kinds are fast."""

    SCALAR = 0
    PER_ARRAY = 1
    PER_ROW = 2
    PER_COLUMN = 3
    ARRAY = 4
    TRANSPOSED = 5
    ROWS_BY_ROWS = 6
    COLUMNS_BY_COLUMNS = 7
    PER_COLUMN_TRANSPOSED = 8
    PER_ROW_TRANSPOSED = 9

    def __str__(self) -> str:
        """The name used in annotations and messages."""
        return self.name.lower()


NUMBERS = (Kind.SCALAR, Kind.PER_ARRAY)
"""Kinds of which there is one number, for a weight array or for all."""

BY_LINE = (Kind.PER_ROW, Kind.PER_COLUMN)
"""Kinds that meet an array as a matrix."""


class Extent(IntEnum):
    """The length of one of a block's two dimensions."""

    ONE = 0
    ROWS = 1
    COLUMNS = 2


EXTENTS: dict[Kind, tuple[Extent, Extent]] = {
    Kind.PER_ARRAY: (Extent.ONE, Extent.ONE),
    Kind.PER_ROW: (Extent.ROWS, Extent.ONE),
    Kind.PER_COLUMN: (Extent.ONE, Extent.COLUMNS),
    Kind.ARRAY: (Extent.ROWS, Extent.COLUMNS),
    Kind.TRANSPOSED: (Extent.COLUMNS, Extent.ROWS),
    Kind.ROWS_BY_ROWS: (Extent.ROWS, Extent.ROWS),
    Kind.COLUMNS_BY_COLUMNS: (Extent.COLUMNS, Extent.COLUMNS),
    Kind.PER_COLUMN_TRANSPOSED: (Extent.COLUMNS, Extent.ONE),
    Kind.PER_ROW_TRANSPOSED: (Extent.ONE, Extent.ROWS),
}
_KIND_OF = {extents: kind for kind, extents in EXTENTS.items()}

KINDS: dict[str, Kind] = {str(kind): kind for kind in Kind}
"""The kinds by the names that annotations use."""


@dataclass(frozen=True)
class Mismatch:
    """Why a function does not take arguments of some kinds."""

    argument: int
    """The position of the argument to blame."""
    wanted: str
    """What it must be, to follow "must be"."""


Rule = Callable[[tuple[Kind, ...]], Kind | Mismatch]
"""From the arguments' kinds to the result's, or to the reason against."""


def castable(kind: Kind, to: Kind) -> bool:
    """Whether a value of `kind` becomes one of kind `to` by broadcasting."""
    return join(kind, to) == to


def join(x: Kind, y: Kind) -> Kind | None:
    """The least kind that both cast up to, or None where there is none."""
    if x == y or y == Kind.SCALAR:
        return x
    if x == Kind.SCALAR:
        return y
    extents: list[Extent] = []
    for a, b in zip(EXTENTS[x], EXTENTS[y], strict=True):
        if a != b and Extent.ONE not in (a, b):
            return None
        extents.append(max(a, b))
    return _KIND_OF[extents[0], extents[1]]


def broadcast(kinds: tuple[Kind, ...]) -> Kind | Mismatch:
    """Elementwise functions: the arguments' common kind."""
    common = Kind.SCALAR
    for position, kind in enumerate(kinds):
        joined = join(common, kind)
        if joined is None:
            return Mismatch(position, f"castable to {an(common)}")
        common = joined
    return common


def constant(kinds: tuple[Kind, ...]) -> Kind | Mismatch:
    """Functions without arguments: a scalar."""
    del kinds
    return Kind.SCALAR


def reduce_all(kinds: tuple[Kind, ...]) -> Kind | Mismatch:
    """One number from all numbers of the arguments' common kind."""
    common = broadcast(kinds)
    return common if isinstance(common, Mismatch) else Kind.SCALAR


def reduce_each(kinds: tuple[Kind, ...]) -> Kind | Mismatch:
    """One number for each weight array; a scalar stays one."""
    return min(kinds[0], Kind.PER_ARRAY)


def last_scalar(kinds: tuple[Kind, ...]) -> Kind | Mismatch:
    """Elementwise in all arguments but the last, which must be a scalar."""
    if kinds[-1] != Kind.SCALAR:
        return Mismatch(len(kinds) - 1, "a scalar")
    return broadcast(kinds[:-1])


def reduce_rows(kinds: tuple[Kind, ...]) -> Kind | Mismatch:
    """One number for each row: the columns' extent becomes 1."""
    return _replace_extents(kinds[0], lambda rows, columns: (rows, Extent.ONE))


def reduce_columns(kinds: tuple[Kind, ...]) -> Kind | Mismatch:
    """One number for each column: the rows' extent becomes 1."""
    return _replace_extents(kinds[0], lambda rows, columns: (Extent.ONE, columns))


def swap_extents(kinds: tuple[Kind, ...]) -> Kind | Mismatch:
    """Rows become columns."""
    return _replace_extents(kinds[0], lambda rows, columns: (columns, rows))


def of_shape(kinds: tuple[Kind, ...]) -> Kind | Mismatch:
    """A number that the shape of each weight array tells."""
    return Kind.PER_ARRAY if kinds[0] == Kind.ARRAY else Mismatch(0, an(Kind.ARRAY))


def square(kinds: tuple[Kind, ...]) -> Kind | Mismatch:
    """A square matrix for each weight array; further arguments must be scalars."""
    rows, columns = EXTENTS.get(kinds[0], (Extent.ONE, Extent.ONE))
    if kinds[0] == Kind.SCALAR or rows != columns:
        return Mismatch(0, f"{an(Kind.ROWS_BY_ROWS)} or {an(Kind.COLUMNS_BY_COLUMNS)}")
    for position, kind in enumerate(kinds[1:], start=1):
        if kind != Kind.SCALAR:
            return Mismatch(position, "a scalar")
    return kinds[0]


def matrix_product(kinds: tuple[Kind, ...]) -> Kind | Mismatch:
    """(a, b) times (b, c) gives (a, c)."""
    for position, kind in enumerate(kinds):
        if kind == Kind.SCALAR:
            return Mismatch(position, "a block of numbers for each weight array")
    (rows, inner), (inner2, columns) = EXTENTS[kinds[0]], EXTENTS[kinds[1]]
    if inner != inner2:
        return Mismatch(1, f"of as many rows as the first has columns ({inner.name.lower()})")
    return _KIND_OF[rows, columns]


def an(kind: Kind) -> str:
    """The kind's name with its article."""
    return f"{'an' if str(kind)[0] in 'aeiou' else 'a'} `{kind}`"


def _replace_extents(
    kind: Kind, change: Callable[[Extent, Extent], tuple[Extent, Extent]]
) -> Kind | Mismatch:
    if kind == Kind.SCALAR:
        return Mismatch(0, "a block of numbers for each weight array")
    return _KIND_OF[change(*EXTENTS[kind])]
