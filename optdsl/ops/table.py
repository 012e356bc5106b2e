"""The one table of functions, and look-ups in it."""

from optdsl.ops.elementwise import ELEMENTWISE
from optdsl.ops.extended import EXTENDED
from optdsl.ops.opdef import FunctionSet, OpDef
from optdsl.ops.reductions import REDUCTIONS

OPS: tuple[OpDef, ...] = ELEMENTWISE + REDUCTIONS + EXTENDED
"""Every function of the language, in the order of the reference."""

BY_NAME: dict[str, OpDef] = {op.name: op for op in OPS}
"""By the name, which for some is an operator."""

CALLABLE: dict[str, OpDef] = {
    name: op for op in OPS for name in (op.name, *op.aliases) if name.isidentifier()
}
"""By every name that may stand before parentheses."""


def functions(*which: FunctionSet) -> tuple[OpDef, ...]:
    """The functions of some sets, in the table's order."""
    return tuple(op for op in OPS if op.sets & {*which})
