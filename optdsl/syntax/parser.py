"""Text to syntax tree, with every syntax error of the file.

    parse_file(Source("lion.opt", text)) -> Parsed(file, diagnostics)

After a syntax error the statement is left out and parsing begins again, so that later errors are
found too; what it seems to bind stays known, so that its absence causes none.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from lark import Lark
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from optdsl.diagnostics import Diagnostic, Source, Span
from optdsl.resources import resource
from optdsl.syntax import ast
from optdsl.syntax.build import TreeBuilder
from optdsl.syntax.comments import attach_comments
from optdsl.syntax.layout import Layout, SyntaxFault
from optdsl.syntax.syntax_errors import STATEMENT, unexpected_character, unexpected_token

MAX_SYNTAX_ERRORS = 10
"""Parsing stops after so many: each costs another parse of the text."""

RECOVERY_LIMIT = 20_000
"""Texts longer than this (in characters) are parsed once: their first syntax error is the last."""

BROKEN = "\ufdd0"
"""The character that stands for a line left out; see the grammar."""

_NAMES = r"([^\W\d]\w*(?:\s*,\s*[^\W\d]\w*)*)"

_TARGETS = re.compile(rf"\s*(?:(?:def|for)\s+|from\b.*\bimport\s+|(?=.*=)){_NAMES}")
"""What a statement with an error seems to bind: a function, a loop's variable, imports, targets."""


@dataclass(frozen=True)
class Parsed:
    """The tree, or None where the text's structure can't be told, and the errors."""

    file: ast.File | None
    diagnostics: tuple[Diagnostic, ...]


def parse_file(source: Source) -> Parsed:
    """Parse one file; never raises for any text that `check_text` lets through."""
    refused = check_text(source)
    if refused:
        return Parsed(None, refused)
    text, faults, broken = source.text, list[Diagnostic](), dict[int, tuple[str, ...]]()
    while True:
        builder = TreeBuilder(source, broken)
        try:
            file = _parse_once(text, source, builder)
        except SyntaxFault as fault:
            if fault.line not in broken:  # else only a consequence
                faults.append(fault.diagnostic)
            left_out = _leave_out(text, fault.line, fault.end)
            stop = len(faults) >= MAX_SYNTAX_ERRORS or len(text) > RECOVERY_LIMIT
            if stop or left_out is None or fault.final:
                return Parsed(None, _sorted([*faults, *builder.diagnostics]))
            text, broken[fault.line] = left_out
            continue
        file = attach_comments(file, source) if not faults else file
        return Parsed(file, _sorted([*faults, *builder.diagnostics]))


def check_text(source: Source) -> tuple[Diagnostic, ...]:
    """The characters that are refused everywhere, comments included."""
    found: list[Diagnostic] = []
    for number, line in enumerate(source.lines, start=1):
        if line.isascii() and line.isprintable():
            continue
        for column, char in enumerate(line, start=1):
            if char == "\t" or (unicodedata.category(char) not in _REFUSED and char != BROKEN):
                continue
            name = unicodedata.name(char, "a control character").lower()
            found.append(
                Diagnostic(
                    "E003",
                    f"the character U+{ord(char):04X} ({name}) is not allowed",
                    Span(source, number, column, number, column + 1),
                    help="remove it",
                )
            )
            if len(found) == MAX_SYNTAX_ERRORS:
                return tuple(found)
    return tuple(found)


_REFUSED = ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")


@cache
def _grammar() -> Lark:
    text = (resource("grammar") / "opt.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer="basic", start="file", keep_all_tokens=True)


def _parse_once(text: str, source: Source, builder: TreeBuilder) -> ast.File:
    """One pass over the text.

    Raises:
        SyntaxFault: at the first error.
    """
    layout = Layout(source)
    parser = _grammar().parse_interactive(text)
    try:
        for token in layout.tokens(parser.lexer_thread.lex(parser.parser_state)):
            parser.feed_token(token)
        tree = parser.feed_eof()
    except UnexpectedCharacters as error:
        raise unexpected_character(error.line, error.column, layout) from None
    except UnexpectedToken as error:
        raise unexpected_token(error.token, parser.accepts(), layout) from None
    return builder.transform(tree)


def _leave_out(text: str, line: int, next_line: int | None) -> tuple[str, tuple[str, ...]] | None:
    """The text without the statement that begins on a line, and the names that it binds.

    None where it is left out already.
    """
    lines, first = text.split("\n"), line - 1
    content = lines[first]
    if content.strip() in ("", BROKEN):
        return None
    match = _TARGETS.match(content)
    names = re.split(r"\s*,\s*", match.group(1)) if match else []
    indent = content[: len(content) - len(content.lstrip())].replace("\t", " ")
    end = next_line - 1 if next_line else _end_of_statement(lines, first)
    lines[first:end] = [indent + BROKEN, *[""] * (end - first - 1)]
    return "\n".join(lines), tuple(unicodedata.normalize("NFKC", name) for name in names)


def _end_of_statement(lines: list[str], first: int) -> int:
    """The line after a statement whose brackets may not match."""
    depth = 0
    for i in range(first, len(lines)):
        if i > first and STATEMENT.match(lines[i]):
            return i
        code = lines[i].partition("#")[0]
        depth += len(re.findall(r"[(\[]", code)) - len(re.findall(r"[)\]]", code))
        if depth <= 0:
            return i + 1
    return len(lines)


def _sorted(diagnostics: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    return tuple(sorted(diagnostics, key=lambda d: (d.span.line, d.span.column)))
