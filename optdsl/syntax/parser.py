"""Text to syntax tree, with every syntax error of the file.

    parse_file(Source("lion.opt", text)) -> Parsed(file, diagnostics)

After a syntax error the line is left out and parsing begins again, so that later errors are found
too; what the line seems to assign stays known, so that its absence causes none.
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
from optdsl.syntax.syntax_errors import unexpected_character, unexpected_token

MAX_SYNTAX_ERRORS = 10
"""Parsing stops after so many: each costs another parse of the text."""

RECOVERY_LIMIT = 20_000
"""Texts longer than this (in characters) are parsed once: their first syntax error is the last."""

BROKEN = "\ufdd0"
"""The character that stands for a line left out; see the grammar."""

_TARGETS = re.compile(r"\s*([^\W\d]\w*(?:\s*,\s*[^\W\d]\w*)*)\s*=[^=]")


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
            left_out = _leave_out(text, fault.line)
            stop = len(faults) >= MAX_SYNTAX_ERRORS or len(text) > RECOVERY_LIMIT
            if stop or left_out is None or fault.diagnostic.code == "E004":
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


def _leave_out(text: str, line: int) -> tuple[str, tuple[str, ...]] | None:
    """The text without one logical line, and the names it assigns; None for a block's header."""
    lines = text.split("\n")
    content = lines[line - 1]
    if content.rstrip().endswith(":") or content.strip() in ("", BROKEN):
        return None
    if content.lstrip().startswith(("def ", "for ")):
        return None
    match = _TARGETS.match(content)
    names = re.split(r"\s*,\s*", match.group(1)) if match else []
    indent = content[: len(content) - len(content.lstrip())]
    lines[line - 1] = indent.replace("\t", " ") + BROKEN
    return "\n".join(lines), tuple(unicodedata.normalize("NFKC", name) for name in names)


def _sorted(diagnostics: list[Diagnostic]) -> tuple[Diagnostic, ...]:
    return tuple(sorted(diagnostics, key=lambda d: (d.span.line, d.span.column)))
