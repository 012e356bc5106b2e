"""A program as legal `.opt` text: `parse(print_program(p)) == p`."""

from optdsl.ir.program import Input, Program, Role
from optdsl.ops import Kind


def print_program(program: Program) -> str:
    """One statement a line, in the form of the paper's listings."""
    closing = ' """' if program.doc.endswith('"') else '"""'
    lines = [f'"""{program.doc}{closing}', ""] if program.doc else []
    parameters = ", ".join(_parameter(entry) for entry in program.inputs)
    lines.append(f"def train({parameters}):")
    positions = range(len(program.operations))
    lines += [f"    {print_operation(program, position)}" for position in positions]
    outputs = ", ".join(operand_text(program, output) for output in program.outputs)
    lines.append(f"    return {outputs}")
    return "\n".join(lines) + "\n"


def print_operation(program: Program, position: int) -> str:
    """One statement."""
    operation = program.operations[position]
    args = [operand_text(program, arg) for arg in operation.args]
    return f"{operation.name} = {operation.op.written(*args)}"


def operand_text(program: Program, operand: int) -> str:
    """A value's name or a constant's shortest exact decimal."""
    return program.name_of(operand) if operand >= 0 else repr(program.constants[~operand])


def annotation_text(kind: Kind, dtype: str | None) -> str:
    """A state variable's annotation; empty for an array of the weights' dtype."""
    if dtype is None:
        return "" if kind == Kind.ARRAY else str(kind)
    return dtype if kind == Kind.ARRAY else f"{kind}[{dtype}]"


def _parameter(entry: Input) -> str:
    if entry.default is not None:
        return f"{entry.name}={entry.default!r}"
    is_state = entry.role is Role.STATE
    annotation = annotation_text(entry.kind, entry.dtype) if is_state else ""
    return f"{entry.name}: {annotation}" if annotation else entry.name
