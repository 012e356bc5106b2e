"""Line structure: from the lexer's newlines to one newline a statement, indents and dedents."""

from collections.abc import Iterator
from typing import NoReturn

from lark import Token

from optdsl.diagnostics import Diagnostic, Label, Source, Span

MAX_NESTING = 100
"""How deep brackets and expressions may nest."""

MAX_BLOCKS = 20
"""How deep blocks may nest."""

OPEN = {"LPAR": ")", "LSQB": "]"}
CLOSE = {"RPAR": "(", "RSQB": "["}


class SyntaxFault(Exception):
    """A syntax error on its way to the parser's recovery."""

    def __init__(
        self, diagnostic: Diagnostic, line: int, end: int | None = None, final: bool = False
    ) -> None:
        """Keep the error, and how to go on.

        Args:
            diagnostic: the error.
            line: where the statement to leave out begins.
            end: where the next one does, if that is known.
            final: whether the structure of the rest can't be told.
        """
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic
        self.line = line
        self.end = end
        self.final = final


class Layout:
    """Turns the raw tokens of one text into those of the grammar, and knows the open brackets."""

    def __init__(self, source: Source) -> None:
        """Begin at the top of the text."""
        self.source = source
        self.brackets: list[Token] = []
        self.line = 1
        """Where the logical line that is being read begins."""
        self.previous = 1
        """Where the one above it begins."""
        self._columns = [0]

    def tokens(self, raw: Iterator[Token]) -> Iterator[Token]:
        """The grammar's tokens.

        Raises:
            SyntaxFault: for brackets that don't match and for wrong indentation.
        """
        newlines: list[Token] = []
        at_start = True
        for token in raw:
            if token.type == "_NEWLINE":
                if not self.brackets:
                    newlines = [*newlines[:1], token]
                continue
            if newlines or at_start:
                yield from self._begin_line(token, newlines)
                newlines, at_start = [], False
            self._match_brackets(token)
            yield token
        if self.brackets:
            self._never_closed()
        last, column = len(self.source.lines), len(self.source.lines[-1]) + 1
        end = newlines[0] if newlines else Token("_NEWLINE", "\n", 0, last, column, last, column)
        if not at_start:
            yield end
        yield from (Token.new_borrow_pos("_DEDENT", "", end) for _ in self._columns[1:])

    def span(self, token: Token) -> Span:
        """The token's place; a line end's is the one column after the line."""
        line, column = token.line or 1, token.column or 1
        if token.type == "_NEWLINE":
            return Span(self.source, line, column, line, column + 1)
        end_line, end_column = token.end_line or line, token.end_column or column
        return Span(self.source, line, column, end_line, end_column)

    def _begin_line(self, token: Token, newlines: list[Token]) -> Iterator[Token]:
        """The newline before `token`, and what its indentation opens or closes.

        `newlines` are the first and the last of the line ends: only the last has the indentation.
        """
        span = self.span(token)
        text = newlines[-1].rpartition("\n")[2] if newlines else " " * (span.column - 1)
        yield from newlines[:1]
        self.previous, self.line = self.line, span.line
        if "\t" in text:
            fault = Span(self.source, span.line, 1, span.line, span.column)
            self._fail(
                "E004", "a tab in the indentation", fault, help="indent with spaces", final=True
            )
        column = len(text)
        if column > self._columns[-1]:
            self._columns.append(column)
            if len(self._columns) > MAX_BLOCKS + 1:
                fault = Span(self.source, span.line, 1, span.line, span.column)
                message = f"blocks nested more than {MAX_BLOCKS} deep"
                self._fail("E009", message, fault, help="use fewer loops in loops", final=True)
            yield Token.new_borrow_pos("_INDENT", text, token)
        widths = " or ".join(str(width) for width in self._columns)
        while column < self._columns[-1]:
            self._columns.pop()
            if column > self._columns[-1]:
                fault = Span(self.source, span.line, 1, span.line, span.column)
                self._fail(
                    "E004",
                    "this indentation matches no block above",
                    fault,
                    label=f"{column} spaces",
                    help=f"indent with {widths} spaces",
                    final=True,
                )
            yield Token.new_borrow_pos("_DEDENT", text, token)

    def _match_brackets(self, token: Token) -> None:
        if token.type in OPEN:
            self.brackets.append(token)
            if len(self.brackets) > MAX_NESTING:
                self._fail(
                    "E009",
                    f"brackets nested more than {MAX_NESTING} deep",
                    self.span(token),
                    help="give a part of the expression a name of its own",
                )
        elif token.type in CLOSE:
            if not self.brackets:
                self._fail(
                    "E005",
                    f"`{token}` closes nothing",
                    self.span(token),
                    help=f"remove it, or write the `{CLOSE[token.type]}` that it should close",
                )
            opened = self.brackets.pop()
            if OPEN[opened.type] != token:
                self._fail(
                    "E005",
                    f"`{token}` does not close `{opened}`",
                    self.span(token),
                    related=(Label(self.span(opened), "opened here"),),
                    help=f"close it with `{OPEN[opened.type]}`",
                )

    def never_closed(self, end: int | None = None) -> SyntaxFault:
        """The fault of the innermost open bracket; the next statement begins on line `end`."""
        opened = self.brackets[-1]
        diagnostic = Diagnostic(
            "E005",
            f"`{opened}` is never closed",
            self.span(opened),
            label="opened here",
            help=f"close it with `{OPEN[opened.type]}`",
        )
        return SyntaxFault(diagnostic, self.line, end)

    def _never_closed(self) -> NoReturn:
        raise self.never_closed()

    def _fail(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        related: tuple[Label, ...] = (),
        help: str = "",
        final: bool = False,
    ) -> NoReturn:
        found = Diagnostic(code, message, span, label, related, help=help)
        raise SyntaxFault(found, self.line, final=final)
