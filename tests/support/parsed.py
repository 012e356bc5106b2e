"""Programs of a few statements, and what is left of them."""

from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.ir import Program, print_program


def program_of(parameters: str, body: str) -> Program:
    """The program `train` with these parameters and this body, whose lines are indented by four."""
    return load(Source("<test>", f"def train({parameters}):\n    {body}\n"))


def body_of(program: Program) -> list[str]:
    """Its statements, printed."""
    return [line.strip() for line in print_program(program).splitlines()[1:] if line.strip()]
