"""What to tell about a syntax error: from where the parser stopped to a reason and a next step."""

import re
from collections.abc import Set

from lark import Token

from optdsl.diagnostics import Diagnostic, Source, Span
from optdsl.syntax.layout import Layout, SyntaxFault

QUOTES = '"""'

STATEMENT = re.compile(
    r"\s*((return|def|for|if|else|from)\b|[^\W\d]\w*(\s*,\s*[^\W\d]\w*)*\s*=(?!=))"
)
"""How a line begins that can't be the inside of an expression."""

STATEMENTS: dict[str, str] = {
    "elif": "write `else:`, and an `if` in its block",
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

WORDS: dict[str, str] = {
    "lambda": STATEMENTS["lambda"],
    "and": "there are no truth values; nest one `where` in another",
    "or": "there are no truth values; nest one `where` in another",
    "not": "there are no truth values; exchange the last two arguments of `where`",
    "in": "there are no collections",
    "is": "compare numbers, as in `where(a == b, x, y)`",
    "as": "use the name that is imported",
}
"""Words of Python inside of a line, and what to write instead."""

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
    ({"NAME", "NUMBER"}, "an expression", "write a name, a number or a call here"),
    ({"RPAR", "COMMA"}, "`,` or `)`", "separate arguments with `,` and close the call with `)`"),
    ({"RPAR"}, "`)`", "close the bracket with `)`"),
    ({"EQUAL"}, "`=`", "statements are assignments, as in `m = interp(g, m, 0.9)`"),
    ({"_NEWLINE"}, "the end of the line", "write one statement a line"),
    ({"LPAR"}, "`(`", "write the parameters or arguments in parentheses"),
    ({"NAME"}, "a name", "write a name here"),
)
"""Which terminals the parser would have taken, most telling first: what to call them, a help."""


def unexpected_token(token: Token, expected: Set[str], layout: Layout) -> SyntaxFault:
    """The fault for a token that the grammar does not allow here."""
    if layout.brackets and _begins_statement(token, layout):
        return layout.never_closed(token.line)
    if expected == {"_INDENT"}:
        return SyntaxFault(_out_of_place(token, expected, layout), layout.previous)
    found = (
        _not_a_statement(layout)
        or _not_in_expressions(token, layout)
        or _out_of_place(token, expected, layout)
    )
    return SyntaxFault(found, layout.line, final=found.code == "E004")


def unexpected_character(line: int, column: int, layout: Layout) -> SyntaxFault:
    """The fault for a character that begins no token."""
    source = layout.source
    span = Span(source, line, column, line, column + 1)
    text = source.lines[line - 1]
    if text[max(0, column - 3) : column] == QUOTES:
        opening = Span(source, line, column - 2, line, column + 1)
        help = f"end the docstring with `{QUOTES}`"
        unclosed = Diagnostic("E005", f"`{QUOTES}` is never closed", opening, help=help)
        return SyntaxFault(unclosed, layout.line, final=True)
    symbol = _symbol(source, span)
    if symbol:
        return SyntaxFault(_not_in_language(symbol, source, span), layout.line)
    character = text[column - 1 : column]
    diagnostic = Diagnostic(
        "E006",
        f"the character `{character}` (U+{ord(character or ' '):04X}) can't stand here",
        span,
        help="remove it",
    )
    return SyntaxFault(diagnostic, layout.line)


def _begins_statement(token: Token, layout: Layout) -> bool:
    """Whether a token that is inside of brackets is part of the next statement already."""
    line = token.line or 1
    if line == layout.line:
        return False
    text = layout.source.lines[line - 1]
    return not text[: (token.column or 1) - 1].strip() or STATEMENT.match(text) is not None


def _not_a_statement(layout: Layout) -> Diagnostic | None:
    """For a line that begins with a word of Python."""
    text = layout.source.lines[layout.line - 1]
    word = re.match(r"\s*(\w*)", text)
    if word is None or word[1] not in STATEMENTS:
        return None
    first = Span(layout.source, layout.line, word.start(1) + 1, layout.line, word.end(1) + 1)
    message, help = f"there is no `{word[1]}` in the language", STATEMENTS[word[1]]
    return Diagnostic("E007", message, first, help=help)


def _not_in_expressions(token: Token, layout: Layout) -> Diagnostic | None:
    """For Python's further operators, in symbols or in words, and for comparisons."""
    source, span = layout.source, layout.span(token)
    if token in ("if", "else"):
        if not source.lines[span.line - 1][: span.column - 1].strip():
            help = "it stands behind the block of an `if`"
            return Diagnostic("E006", f"`{token}` can't stand here", span, help=help)
        help = "choose between values with `where(a < b, x, y)`"
        return Diagnostic("E007", f"there is no `{token}` in expressions", span, help=help)
    if token in WORDS:
        help = WORDS[token]
        return Diagnostic("E007", f"there is no `{token}` in the language", span, help=help)
    symbol = _symbol(source, span)
    if symbol:
        return _not_in_language(symbol, source, span)
    if token.type == "COMPARISON":
        help = "compare two values, once, as the first argument of `where`"
        return Diagnostic("E202", "a comparison can't stand here", span, help=help)
    return None


def _out_of_place(token: Token, expected: Set[str], layout: Layout) -> Diagnostic:
    """For a token of the language where another one should be."""
    span = layout.span(token)
    if token.type == "_INDENT":
        help = "indent it like the line above"
        return Diagnostic("E004", "this line is indented, but begins no block", span, help=help)
    for terminals, wanted, help in EXPECTED:
        if terminals <= expected:
            return Diagnostic("E006", f"expected {wanted}, found {_name(token)}", span, help=help)
    help = "see docs/language.md for the grammar"
    return Diagnostic("E006", f"{_name(token)} can't stand here", span, help=help)


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
    is_import = source.lines[span.line - 1].lstrip().startswith("from ")
    help = STATEMENTS["import"] if is_import else SYMBOLS[symbol]
    return Diagnostic("E007", f"there is no `{symbol}` in the language", where, help=help)


def _name(token: Token) -> str:
    names = {
        "_NEWLINE": "the end of the line",
        "$END": "the end of the file",
        "_INDENT": "an indented line",
        "_DEDENT": "the end of the block",
        "STRING": "a string",
    }
    return names.get(token.type, f"`{token}`")
