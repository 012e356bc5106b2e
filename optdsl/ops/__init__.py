"""The one table of functions: `OPS`, one row for each."""

from optdsl.ops.kinds import (
    BY_LINE,
    EXTENTS,
    KINDS,
    NUMBERS,
    Extent,
    Kind,
    Mismatch,
    an,
    castable,
    join,
)
from optdsl.ops.opdef import FunctionSet, OpDef, Over, Prop
from optdsl.ops.table import BY_NAME, CALLABLE, OPS, functions

__all__ = [
    "BY_LINE",
    "BY_NAME",
    "CALLABLE",
    "EXTENTS",
    "KINDS",
    "NUMBERS",
    "OPS",
    "Extent",
    "FunctionSet",
    "Kind",
    "Mismatch",
    "OpDef",
    "Over",
    "Prop",
    "an",
    "castable",
    "functions",
    "join",
]
