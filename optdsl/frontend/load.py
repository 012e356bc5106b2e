"""From a text to a checked program: parsing, imports, elaboration.

elaborate(find_source("lion")) -> Elaborated(program, diagnostics, ...)
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from optdsl.diagnostics import Diagnostic, Label, OptError, Source, Span, did_you_mean, nearest
from optdsl.frontend.elaborate import Elaborated, Elaborator, Helper, Helpers
from optdsl.frontend.files import SUFFIX, read_source, stdlib
from optdsl.ir import Program, Role
from optdsl.ops import CALLABLE
from optdsl.syntax import ast, parse_file

ENTRY = "train"

MAX_LISTED = 10
"""How many of a file's helpers are named to somebody who imports another."""

RESERVED = frozenset(CALLABLE) | {"where", "range"}
"""Names that a helper can't have."""


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
    helpers = _helpers(parsed.file, source, (source.name,), diagnostics)
    elaborator = Elaborator(helpers)
    entry = next((f for f in parsed.file.functions if f.name.text == ENTRY), None)
    program = None
    if entry is not None:
        docstring = parsed.file.docstring or entry.docstring
        program = elaborator.train(entry, docstring.content if docstring else "")
    elif not diagnostics:
        diagnostics.append(_no_entry(source, parsed.file))
    for helper in _own(parsed.file, helpers).values():
        elaborator.check_helper(helper)
    diagnostics += elaborator.diagnostics
    if entry is not None and program is not None:
        diagnostics += _unused(entry, program)
    diagnostics.sort(key=lambda d: (d.span.line, d.span.column))
    if any(diagnostic.is_error for diagnostic in diagnostics):
        program = None
    statements = tuple(trace for _, trace in elaborator.traces.values())
    return Elaborated(program, tuple(diagnostics), statements, tuple(elaborator.returned))


def _helpers(
    file: ast.File, source: Source, importing: tuple[str, ...], diagnostics: list[Diagnostic]
) -> Helpers:
    """The helpers that a file's functions can call: its own, and those it imports."""
    scope: Helpers = {name: None for node in file.broken for name in node.targets}
    spans: dict[str, Span] = {}
    for node in file.imports:
        available = _imported(node, source, importing, diagnostics)
        for name in node.names:
            scope[name.text] = None
            if available is None:
                continue
            if name.text in available:
                scope[name.text] = available[name.text]
                spans[name.text] = name.span
            else:
                near = nearest(name.text, available, errors=len(diagnostics))
                listed = ", ".join(islice(available, MAX_LISTED))
                help = did_you_mean(near) or f"it has {listed or 'no helpers'}"
                message = f"`{node.module.text}` has no helper `{name.text}`"
                diagnostics.append(Diagnostic("E502", message, name.span, help=help))
    entry: Span | None = None
    for function in file.functions:
        name, span = function.name.text, function.name.span
        first = entry if name == ENTRY else spans.get(name)
        if name in RESERVED:
            message = f"`{name}` is a function of the language"
            diagnostics.append(Diagnostic("E103", message, span, help="choose another name"))
        elif first is not None:
            related = (Label(first, "first declared here"),)
            diagnostics.append(
                Diagnostic(
                    "E103",
                    f"`{name}` is declared twice",
                    span,
                    related=related,
                    help="rename one of them",
                )
            )
        elif name == ENTRY:
            entry = span
        else:
            spans[name] = span
            scope[name] = Helper(function, scope)
    return scope


def _own(file: ast.File, helpers: Helpers) -> dict[str, Helper]:
    """Those of the helpers that the file itself declares."""
    declared = [(function, helpers.get(function.name.text)) for function in file.functions]
    return {f.name.text: h for f, h in declared if h is not None and h.function is f}


def _imported(
    node: ast.Import, source: Source, importing: tuple[str, ...], diagnostics: list[Diagnostic]
) -> dict[str, Helper] | None:
    """The helpers of an imported file, or None where it can't be used (and that is reported)."""
    name = node.module.text
    path = _find_module(name, source)
    if path is None:
        near = did_you_mean(nearest(name, stdlib(), errors=len(diagnostics)))
        diagnostics.append(
            Diagnostic(
                "E501",
                f"there is no `{name}{SUFFIX}` to import from",
                node.module.span,
                "not beside this file, and not in the standard library",
                help=near or f"create `{name}{SUFFIX}` beside this file",
            )
        )
        return None
    if str(path) in importing or path.resolve() == Path(importing[0]).resolve():
        chain = " imports ".join(f"`{Path(p).name}`" for p in (*importing, str(path)))
        help = "move what both need into a third file"
        diagnostics.append(
            Diagnostic("E503", f"circular import: {chain}", node.module.span, help=help)
        )
        return None
    try:
        imported = read_source(path)
    except OptError as error:
        diagnostics.append(_broken_import(node, error.diagnostics[0]))
        return None
    parsed = parse_file(imported)
    errors = list(parsed.diagnostics)
    helpers = None
    if parsed.file is not None:
        helpers = _helpers(parsed.file, imported, (*importing, str(path)), errors)
        checker = Elaborator(helpers)
        helpers = _own(parsed.file, helpers)
        for helper in helpers.values():
            checker.check_helper(helper)
        errors += checker.diagnostics
    circular = [error for error in errors if error.code == "E503"]
    if circular:
        diagnostics.append(
            Diagnostic("E503", circular[0].message, node.module.span, help=circular[0].help)
        )
        return None
    if errors:
        diagnostics.append(_broken_import(node, errors[0]))
        return None
    return helpers


def _find_module(name: str, source: Source) -> Path | None:
    """NAME.opt beside the file (never outside of its folder), else in the standard library."""
    folder = Path(source.name).parent
    neighbour = folder / f"{name}{SUFFIX}"
    is_file = not source.name.startswith("<")
    if is_file and neighbour.is_file() and neighbour.resolve().parent == folder.resolve():
        return neighbour
    return stdlib().get(name)


def _broken_import(node: ast.Import, first: Diagnostic) -> Diagnostic:
    where = Label(first.span, first.message)
    return Diagnostic(
        "E504",
        f"`{node.module.text}{SUFFIX}` has errors",
        node.module.span,
        related=(where,),
        help=f"run `optdsl check {first.span.source.name}`",
    )


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
