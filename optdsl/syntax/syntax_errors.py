"""What to tell about a syntax error: from where the parser stopped to a reason and a next step."""

from collections.abc import Set

from lark import Token

from optdsl.diagnostics import Diagnostic, Source, Span
from optdsl.syntax.layout import Layout, SyntaxFault

STATEMENTS: dict[str, str] = {
    "if": "choose between values with `where(a < b, x, y)`",
    "elif": "choose between values with `where(a < b, x, y)`",
    "else": "choose between values with `where(a < b, x, y)`",
    "while": "use `for i in range(N):` with a number N",
    "class": "a program is made of `def`s",
    "import": "write `from NAME import helper`, for a file NAME.opt beside this one",
    "lambda": "write a helper `def`",
    "pass": "remove it",
    "with": "remove it",
    "try": "remove it",
    "assert": "remove it",
    "async": "remove it",
    "global": "a helper reads its own parameters only",
    "print": "remove it",
}
"""Words of Python that begin a line, and what to write instead."""

SYMBOLS: dict[str, str] = {
    "+=": "write `x = x + y`",
    "-=": "write `x = x - y`",
    "*=": "write `x = x * y`",
    "/=": "write `x = x / y`",
    "**=": "write `x = x ** y`",
    "//": "write `x / y`",
    "%": "there is no remainder",
    "@": "write `matmul(x, y)`",
    ".": "there are no attributes: functions are called by their bare names, as in `sqrt(v)`",
    "[": "there is no indexing",
    "]": "there is no indexing",
    "{": "there are no dictionaries",
    "}": "there are no dictionaries",
    "'": 'strings are docstrings only, in `"""`',
    '"': 'strings are docstrings only, in `"""`',
    ";": "write one statement a line",
    "\\": "to go on in the next line, put the expression in parentheses",
    "&": "there are no truth values; nest one `where` in another",
    "|": "there are no truth values; nest one `where` in another",
    "!": "there are no truth values; write `where(a != b, x, y)`",
    "^": "write `x ** y` for a power",
    ":=": "assign in a statement of its own",
    "->": "functions have no result annotations",
}
"""Python (or a guess at it) that is not in the language, and what to write instead."""

EXPECTED: tuple[tuple[Set[str], str, str], ...] = (
    ({"DEF"}, "a function", "a file holds imports, then functions: `def train(w, g, lr):`"),
    ({"COLON", "RPAR"}, "`:` or `)`", "close the parameters with `)`"),
    ({"COLON"}, "`:`", "end the line with `:`"),
    ({"_INDENT"}, "an indented block", "indent the body with four spaces"),
    ({"RPAR", "COMMA"}, "`,` or `)`", "separate arguments with `,` and close the call with `)`"),
    ({"RPAR"}, "`)`", "close the bracket with `)`"),
    ({"EQUAL"}, "`=`", "statements are assignments, as in `m = interp(g, m, 0.9)`"),
    ({"_NEWLINE"}, "the end of the line", "write one statement a line"),
    ({"LPAR"}, "`(`", "write the parameters or arguments in parentheses"),
    ({"NAME", "NUMBER"}, "an expression", "write a name, a number or a call here"),
    ({"NAME"}, "a name", "write a name here"),
)
"""Which terminals the parser would have taken, most telling first: what to call them, a help."""


def unexpected_token(token: Token, expected: Set[str], layout: Layout) -> SyntaxFault:
    """The fault for a token that the grammar does not allow here."""
    source, span = layout.source, layout.span(token)
    line_text = source.lines[layout.line - 1].strip()
    word = line_text.split(maxsplit=1)[0] if line_text else ""
    word = word.rstrip(":(")
    column = source.lines[layout.line - 1].find(word) + 1
    if word in STATEMENTS and span.line == layout.line:
        first = Span(source, layout.line, column, layout.line, column + len(word))
        diagnostic = Diagnostic(
            "E007", f"there is no `{word}` in the language", first, help=STATEMENTS[word]
        )
        return SyntaxFault(diagnostic, layout.line)
    if layout.brackets and (token.line or 1) > (layout.brackets[-1].line or 1):
        return layout.never_closed()
    symbol = _symbol(source, span)
    if symbol:
        return SyntaxFault(_not_in_language(symbol, source, span), layout.line)
    if token.type == "COMPARISON":
        help = "compare two values, once, as the first argument of `where`"
        diagnostic = Diagnostic("E202", "a comparison can't stand here", span, help=help)
        return SyntaxFault(diagnostic, layout.line)
    for terminals, wanted, help in EXPECTED:
        if terminals <= expected:
            message = f"expected {wanted}, found {_name(token)}"
            return SyntaxFault(Diagnostic("E006", message, span, help=help), layout.line)
    diagnostic = Diagnostic(
        "E006",
        f"{_name(token)} can't stand here",
        span,
        help="see docs/language.md for the grammar",
    )
    return SyntaxFault(diagnostic, layout.line)


def unexpected_character(line: int, column: int, layout: Layout) -> SyntaxFault:
    """The fault for a character that begins no token."""
    source = layout.source
    span = Span(source, line, column, line, column + 1)
    symbol = _symbol(source, span)
    if symbol:
        return SyntaxFault(_not_in_language(symbol, source, span), layout.line)
    character = source.lines[line - 1][column - 1 : column]
    diagnostic = Diagnostic(
        "E006",
        f"the character `{character}` (U+{ord(character or ' '):04X}) can't stand here",
        span,
        help="remove it",
    )
    return SyntaxFault(diagnostic, layout.line)


def _symbol(source: Source, span: Span) -> str:
    """The entry of SYMBOLS that the text around the span's beginning spells, or nothing."""
    line = source.lines[span.line - 1]
    for width in (3, 2, 1):
        for begin in range(max(0, span.column - width), span.column):
            if line[begin : begin + width] in SYMBOLS:
                return line[begin : begin + width]
    return ""


def _not_in_language(symbol: str, source: Source, span: Span) -> Diagnostic:
    column = source.lines[span.line - 1].find(symbol, max(0, span.column - len(symbol))) + 1
    where = Span(source, span.line, column, span.line, column + len(symbol))
    return Diagnostic(
        "E007", f"there is no `{symbol}` in the language", where, help=SYMBOLS[symbol]
    )


def _name(token: Token) -> str:
    names = {
        "_NEWLINE": "the end of the line",
        "$END": "the end of the file",
        "_INDENT": "an indented line",
        "_DEDENT": "the end of the block",
        "STRING": "a string",
    }
    return names.get(token.type, f"`{token}`")
