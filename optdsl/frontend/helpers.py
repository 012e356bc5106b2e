"""Which helpers a file's functions can call: its own, and those that it imports."""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from optdsl.diagnostics import Diagnostic, Label, OptError, Source, Span, did_you_mean, nearest
from optdsl.frontend.elaborate import Elaborator
from optdsl.frontend.expressions import Helper, Helpers
from optdsl.frontend.files import SUFFIX, exists, read_source, stdlib
from optdsl.ops import CALLABLE
from optdsl.syntax import ast, parse_file

ENTRY = "train"

MAX_IMPORTS = 20
"""How many files may import one another in a row."""

MAX_LISTED = 10
"""How many of a file's helpers are named to somebody who imports another."""

RESERVED = frozenset(CALLABLE) | {"where", "range"}
"""Names that a helper can't have."""


@dataclass(frozen=True)
class _Module:
    """An imported file: its own helpers, or its first error."""

    helpers: dict[str, Helper]
    error: Diagnostic | None = None


class Imports:
    """The files that one file imports, directly or not; each is read once."""

    def __init__(self, source: Source) -> None:
        """`source` is the text whose imports these are."""
        self._open = [Path(source.name)]
        self._modules: dict[Path, _Module] = {}

    def helpers(self, file: ast.File, source: Source, diagnostics: list[Diagnostic]) -> Helpers:
        """The helpers that the functions of a file can call; adds what is wrong with them."""
        scope: Helpers = {name: None for node in file.broken for name in node.targets}
        spans: dict[str, Span] = {}
        for node in file.imports:
            scope |= {name.text: None for name in node.names}
            available = self._imported(node, source, diagnostics)
            if available is None:
                continue
            for name in node.names:
                if name.text in available:
                    scope[name.text] = available[name.text]
                    spans[name.text] = name.span
                else:
                    diagnostics.append(_no_helper(node, name, available, len(diagnostics)))
        for function in file.functions:
            name = function.name.text
            error = _misnamed(function.name, spans)
            spans.setdefault(name, function.name.span)
            if error:
                diagnostics.append(error)
            elif name != ENTRY:
                scope[name] = Helper(function, scope)
        return scope

    def _imported(
        self, node: ast.Import, source: Source, diagnostics: list[Diagnostic]
    ) -> dict[str, Helper] | None:
        """The helpers of an imported file, or None where it can't be used, which is reported."""
        path = _find_module(node.module.text, source)
        if path is None:
            diagnostics.append(_not_there(node, len(diagnostics)))
            return None
        span, key = node.module.span, path.resolve()
        if key in [known.resolve() for known in self._open]:
            chain = " imports ".join(f"`{known.name}`" for known in (*self._open, path))
            message, help = f"circular import: {chain}", "move what both need into a third file"
            diagnostics.append(Diagnostic("E503", message, span, help=help))
            return None
        if len(self._open) > MAX_IMPORTS:
            message = f"more than {MAX_IMPORTS} files that import one another in a row"
            help = "import from a file that imports less"
            diagnostics.append(Diagnostic("E505", message, span, help=help))
            return None
        if key not in self._modules:
            self._open.append(path)
            self._modules[key] = self._module(path)
            self._open.pop()
        error = self._modules[key].error
        if error is None:
            return self._modules[key].helpers
        diagnostics.append(_broken_import(node, error))
        return None

    def _module(self, path: Path) -> _Module:
        try:
            source = read_source(path)
        except OptError as error:
            return _Module({}, error.diagnostics[0])
        parsed = parse_file(source)
        errors = list(parsed.diagnostics)
        if parsed.file is None:
            return _Module({}, errors[0])
        helpers = self.helpers(parsed.file, source, errors)
        own = own_helpers(parsed.file, helpers)
        checker = Elaborator(helpers)
        for helper in own.values():
            checker.check_helper(helper)
        errors += checker.diagnostics
        errors.sort(key=lambda error: error.code not in PASSED_ON)
        return _Module(own, errors[0] if errors else None)


PASSED_ON = ("E503", "E505")
"""Errors about several files: reported as they are wherever one of these files is imported."""


def own_helpers(file: ast.File, helpers: Helpers) -> dict[str, Helper]:
    """Those of the helpers that the file itself declares."""
    declared = [(function, helpers.get(function.name.text)) for function in file.functions]
    return {f.name.text: h for f, h in declared if h is not None and h.function is f}


def _find_module(name: str, source: Source) -> Path | None:
    """NAME.opt beside the file (never outside of its folder), else in the standard library."""
    folder = Path(source.name).parent
    neighbour = folder / f"{name}{SUFFIX}"
    is_file = not source.name.startswith("<")
    if is_file and exists(neighbour) and neighbour.resolve().parent == folder.resolve():
        return neighbour
    return stdlib().get(name)


def _misnamed(name: ast.Identifier, declared: dict[str, Span]) -> Diagnostic | None:
    """E103 for a function's name that is taken."""
    if name.text in RESERVED:
        message, help = f"`{name.text}` is a function of the language", "choose another name"
        return Diagnostic("E103", message, name.span, help=help)
    if name.text in declared:
        related = (Label(declared[name.text], "first declared here"),)
        message, help = f"`{name.text}` is declared twice", "rename one of them"
        return Diagnostic("E103", message, name.span, related=related, help=help)
    return None


def _no_helper(
    node: ast.Import, name: ast.Identifier, available: dict[str, Helper], errors: int
) -> Diagnostic:
    """E502: the file is there, but not the helper."""
    listed = ", ".join(islice(available, MAX_LISTED)) or "no helpers"
    help = did_you_mean(nearest(name.text, available, errors=errors)) or f"it has {listed}"
    message = f"`{node.module.text}` has no helper `{name.text}`"
    return Diagnostic("E502", message, name.span, help=help)


def _not_there(node: ast.Import, errors: int) -> Diagnostic:
    """E501: no such file."""
    name = node.module.text
    near = did_you_mean(nearest(name, stdlib(), errors=errors))
    return Diagnostic(
        "E501",
        f"there is no `{name}{SUFFIX}` to import from",
        node.module.span,
        "not beside this file, and not in the standard library",
        help=near or f"create `{name}{SUFFIX}` beside this file",
    )


def _broken_import(node: ast.Import, error: Diagnostic) -> Diagnostic:
    """E504, or the error itself if it is about several files."""
    if error.code in PASSED_ON:
        return Diagnostic(error.code, error.message, node.module.span, help=error.help)
    return Diagnostic(
        "E504",
        f"`{node.module.text}{SUFFIX}` has errors",
        node.module.span,
        related=(Label(error.span, error.message),),
        help=f"run `optdsl check {error.span.source.name}`",
    )
