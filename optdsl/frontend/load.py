"""From a text to a checked program: parsing, imports, elaboration.

elaborate(find_source("lion")) -> Elaborated(program, diagnostics, ...)
"""

from collections.abc import Iterator

from optdsl.diagnostics import Diagnostic, OptError, Source, Span, nearest
from optdsl.frontend.elaborate import Elaborated, Elaborator
from optdsl.frontend.helpers import ENTRY, Imports, own_helpers
from optdsl.ir import Program, Role
from optdsl.syntax import ast, parse_file


def load(source: Source) -> Program:
    """The program of a text.

    Raises:
        OptError: with all diagnostics of the text.
    """
    elaborated = elaborate(source)
    if elaborated.program is None:
        raise OptError(elaborated.diagnostics)
    return elaborated.program


def elaborate(source: Source) -> Elaborated:
    """Check a whole file; the program is None where there are errors."""
    parsed = parse_file(source)
    diagnostics = list(parsed.diagnostics)
    if parsed.file is None:
        return Elaborated(None, parsed.diagnostics)
    helpers = Imports(source).helpers(parsed.file, source, diagnostics)
    elaborator = Elaborator(helpers)
    entry = next((f for f in parsed.file.functions if f.name.text == ENTRY), None)
    program = None
    if entry is not None:
        docstring = parsed.file.docstring or entry.docstring
        program = elaborator.train(entry, docstring.content if docstring else "")
    elif not diagnostics:
        diagnostics.append(_no_entry(source, parsed.file))
    for helper in own_helpers(parsed.file, helpers).values():
        elaborator.check_helper(helper)
    diagnostics += elaborator.diagnostics
    if entry is not None and program is not None:
        diagnostics += _unused(entry, program)
    diagnostics.sort(key=lambda d: (d.span.line, d.span.column))
    if any(diagnostic.is_error for diagnostic in diagnostics):
        program = None
    statements = tuple(trace for _, trace in elaborator.traces.values())
    return Elaborated(program, tuple(diagnostics), statements, tuple(elaborator.returned))


def _unused(entry: ast.Function, program: Program) -> Iterator[Diagnostic]:
    """W101: hyperparameters that no statement reads."""
    read = {arg for operation in program.operations for arg in operation.args}
    read.update(program.outputs)
    for i, parameter in enumerate(entry.parameters):
        if program.inputs[i].role is Role.HYPERPARAMETER and i not in read:
            name = parameter.name
            message = f"nothing reads the hyperparameter `{name.text}`"
            yield Diagnostic("W101", message, name.span, help="remove it, or use it")


def _no_entry(source: Source, file: ast.File) -> Diagnostic:
    names = [function.name for function in file.functions]
    near = nearest(ENTRY, [name.text for name in names])
    span = next((n.span for n in names if n.text in near), Span(source, 1, 1, 1, 1))
    return Diagnostic(
        "E301",
        "there is no `def train(...)`",
        span,
        help=f"rename `{near[0]}` to `train`" if near else "begin with `def train(w, g, lr):`",
    )
