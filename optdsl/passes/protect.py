"""The protected variant of a program: functions are kept inside of their domains.

Each row of the table may name an expression that replaces the function: `log(x)` becomes
`log(abs(x))`. The result is an ordinary program.
"""

from functools import cache

from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import Builder, Operation, Program, keep, rewrite
from optdsl.ops import OpDef


def protect(program: Program) -> Program:
    """Replace every function that has a protected variant by it."""
    return rewrite(program, _expand)


def _expand(builder: Builder, operation: Operation, args: list[int | float]) -> int | float:
    if not operation.op.protected:
        return keep(builder, operation, args)
    variant = _variant(operation.op)
    values = list(args)
    for step in variant.operations:
        operands = [values[arg] if arg >= 0 else variant.constants[~arg] for arg in step.args]
        values.append(builder.add(step.op, operands))
    result = values[variant.outputs[0]]
    assert isinstance(result, int)
    builder.rename(result, operation.name)
    return result


@cache
def _variant(op: OpDef) -> Program:
    """The protected expression as a program of as many states as the function has arguments."""
    parameters = ", ".join(op.args)
    returned = ", ".join([op.protected, *op.args])
    text = f"def train({parameters}):\n    return {returned}\n"
    return load(Source(f"<protected {op.name}>", text))
