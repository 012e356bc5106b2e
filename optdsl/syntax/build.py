"""From the parser's reductions to the syntax tree, one method for each rule of the grammar."""

import math
import unicodedata
from dataclasses import replace
from typing import Any

from lark import Token
from lark.visitors import Transformer_NonRecursive

from optdsl.diagnostics import Diagnostic, Source, Span
from optdsl.syntax import ast
from optdsl.syntax.layout import MAX_NESTING

Child = Any
"""A token, or a node made by another method."""


class TreeBuilder(Transformer_NonRecursive[Token, ast.File]):
    """Builds nodes bottom up; collects faults that do not stop the parser."""

    def __init__(self, source: Source, broken_targets: dict[int, tuple[str, ...]]) -> None:
        """`broken_targets` gives the assigned names of lines that were left out."""
        super().__init__()
        self.source = source
        self.broken_targets = broken_targets
        self.diagnostics: list[Diagnostic] = []
        self.unusable: set[str] = set()

    def span(self, token: Token) -> Span:
        """The place of a token."""
        line, column = token.line or 1, token.column or 1
        return Span(self.source, line, column, token.end_line or 1, token.end_column or 1)

    def identifier(self, token: Token) -> ast.Identifier:
        """A name in normal form KC; an unusable one is reported where it first stands."""
        span, written = self.span(token), str(token)
        text = unicodedata.normalize("NFKC", written)
        why = ast.why_unusable(written) or ast.why_unusable(text)
        if not why:
            return ast.Identifier(text, span)
        if written not in self.unusable:
            self.unusable.add(written)
            self.diagnostics.append(
                Diagnostic("E104", f"`{written}` can't be a name", span, why, help="choose another")
            )
        return ast.Identifier(written, span)

    def literal(self, token: Token, sign: str = "") -> ast.Number:
        """A finite number."""
        try:
            value = float(sign + token)
        except ValueError:
            value = 0.0
            self.diagnostics.append(
                Diagnostic("E006", "not a number", self.span(token), help="write it as in `1e-8`")
            )
        if math.isinf(value):
            value = 0.0
            self.diagnostics.append(
                Diagnostic(
                    "E008",
                    "the number is too large",
                    self.span(token),
                    "not finite in double precision",
                    help="write a number below 1.8e308",
                )
            )
        return ast.Number(f"{sign}{token}", value, self.span(token))

    # Expressions

    def number(self, children: list[Child]) -> ast.Expression:
        return self.literal(children[0])

    def name(self, children: list[Child]) -> ast.Expression:
        identifier = self.identifier(children[0])
        return ast.Name(identifier.text, identifier.span)

    def negation(self, children: list[Child]) -> ast.Expression:
        minus, operand = children
        span = self.span(minus).to(operand.span)
        if isinstance(operand, ast.Number) and not operand.text.startswith("-"):
            return ast.Number(f"-{operand.text}", -operand.value, span)
        return self._limited(ast.Negation(operand, span, operand.depth + 1))

    def binary(self, children: list[Child]) -> ast.Expression:
        left, operator, right = children
        depth = max(left.depth, right.depth) + 1
        span = left.span.to(right.span)
        return self._limited(ast.Binary(str(operator), left, right, span, depth))

    def call(self, children: list[Child]) -> ast.Expression:
        function = self.identifier(children[0])
        args = tuple(arg for arg in children[1:] if not isinstance(arg, Token))
        depth = max((arg.depth for arg in args), default=0) + 1
        span = function.span.to(self.span(children[-1]))
        return self._limited(ast.Call(function, args, span, depth))

    def group(self, children: list[Child]) -> ast.Expression:
        opened, inner, closed = children
        return replace(inner, span=self.span(opened).to(self.span(closed)))

    def _limited(self, node: Any) -> ast.Expression:
        if node.depth <= MAX_NESTING:
            return node
        line, column = node.span.line, node.span.column
        if not any(d.code == "E009" and d.span.line == line for d in self.diagnostics):
            self.diagnostics.append(
                Diagnostic(
                    "E009",
                    f"an expression nested more than {MAX_NESTING} deep",
                    Span(self.source, line, column, line, column + 1),
                    help="give a part of it a name of its own",
                )
            )
        return ast.Missing(node.span)

    # Statements

    def assign(self, children: list[Child]) -> ast.Assign:
        value = next(child for child in children if not isinstance(child, Token))
        targets = self._names(children)
        return ast.Assign(targets, value, targets[0].span.to(value.span))

    def for_loop(self, children: list[Child]) -> ast.ForLoop:
        variable, function = self._names(children)
        count, *body = (child for child in children if not isinstance(child, Token))
        return ast.ForLoop(variable, function, count, tuple(body), self._header(children))

    def if_(self, children: list[Child]) -> ast.If:
        condition, *body = (child for child in children if not isinstance(child, Token))
        orelse = body.pop() if isinstance(body[-1], ast.Else) else None
        return ast.If(condition, tuple(body), orelse, self._header(children))

    def else_(self, children: list[Child]) -> ast.Else:
        body = tuple(child for child in children if not isinstance(child, Token))
        return ast.Else(body, self._header(children))

    def return_(self, children: list[Child]) -> ast.Return:
        values = tuple(child for child in children if not isinstance(child, Token))
        return ast.Return(values, self.span(children[0]).to(values[-1].span))

    def broken(self, children: list[Child]) -> ast.Broken:
        line, body = children[0].line, children[1:]
        statements = tuple(child for child in body if isinstance(child, ast.Statement))
        if body and isinstance(body[-1], ast.Else):
            statements += body[-1].body
        return ast.Broken(self.broken_targets.get(line, ()), statements, self.span(children[0]))

    # Functions and files

    def docstring(self, children: list[Child]) -> ast.Docstring:
        return ast.Docstring(str(children[0]), self.span(children[0]))

    def default(self, children: list[Child]) -> ast.Number:
        return self.literal(children[-1], "-" if len(children) == 3 else "")

    def annotation(self, children: list[Child]) -> ast.Annotation:
        name, *argument = self._names(children)
        return ast.Annotation(name, argument[0] if argument else None)

    def parameter(self, children: list[Child]) -> ast.Parameter:
        annotation = next((c for c in children if isinstance(c, ast.Annotation)), None)
        default = next((c for c in children if isinstance(c, ast.Number)), None)
        return ast.Parameter(self.identifier(children[0]), annotation, default)

    def parameters(self, children: list[Child]) -> tuple[ast.Parameter, ...]:
        return tuple(child for child in children if isinstance(child, ast.Parameter))

    def function(self, children: list[Child]) -> ast.Function:
        parameters = next((child for child in children if isinstance(child, tuple)), ())
        docstring = next((child for child in children if isinstance(child, ast.Docstring)), None)
        body = tuple(child for child in children if isinstance(child, ast.Statement))
        name = self._names(children)[0]
        return ast.Function(name, parameters, docstring, body, self._header(children))

    def import_from(self, children: list[Child]) -> ast.Import:
        module, *names = self._names(children)
        return ast.Import(module, tuple(names), self.span(children[0]).to(names[-1].span))

    def file(self, children: list[Child]) -> ast.File:
        return ast.File(
            next((child for child in children if isinstance(child, ast.Docstring)), None),
            tuple(child for child in children if isinstance(child, ast.Import)),
            tuple(child for child in children if isinstance(child, ast.Function)),
            tuple(child for child in children if isinstance(child, ast.Broken)),
        )

    def _names(self, children: list[Child]) -> tuple[ast.Identifier, ...]:
        tokens = (child for child in children if isinstance(child, Token))
        return tuple(self.identifier(token) for token in tokens if token.type == "NAME")

    def _header(self, children: list[Child]) -> Span:
        """From the keyword to the colon."""
        colon = next(c for c in children if isinstance(c, Token) and c.type == "COLON")
        return self.span(children[0]).to(self.span(colon))
