"""Comments: found in the text, and attached to the statements that they are about."""

import re
from collections import deque
from dataclasses import dataclass, replace
from typing import TypeVar

from optdsl.diagnostics import Source
from optdsl.syntax import ast

_STRING_OR_COMMENT = re.compile(r'"""[\s\S]*?"""|"[^"\n]*"|#[^\n]*')


@dataclass(frozen=True)
class Comment:
    """One comment: its line, the column of its `#`, its text, and whether it is alone there."""

    line: int
    column: int
    text: str
    alone: bool


def find_comments(source: Source) -> deque[Comment]:
    """All comments of a text, in order."""
    comments: deque[Comment] = deque()
    line, line_start, position = 1, 0, 0
    for match in _STRING_OR_COMMENT.finditer(source.text):
        between = source.text.count("\n", position, match.start())
        if between:
            line += between
            line_start = source.text.rindex("\n", 0, match.start()) + 1
        position = match.start()
        if match.group().startswith("#"):
            column = match.start() - line_start + 1
            alone = not source.text[line_start : match.start()].strip()
            comments.append(Comment(line, column, match.group().rstrip(), alone))
    return comments


def attach_comments(file: ast.File, source: Source) -> ast.File:
    """The tree with each comment at the statement below it, beside it, or at its block's end."""
    return _Attacher(source).file(file)


_Node = TypeVar("_Node", bound=ast.Docstring | ast.Import | ast.Assign | ast.Return | ast.Broken)


class _Attacher:
    def __init__(self, source: Source) -> None:
        self.lines = source.lines
        self.waiting = find_comments(source)

    def file(self, file: ast.File) -> ast.File:
        docstring = file.docstring and self.simple(file.docstring)
        imports = tuple(self.simple(node) for node in file.imports)
        ends = [node.span.line for node in file.functions[1:]]
        functions = tuple(
            self.block(node, end)
            for node, end in zip(file.functions, [*ends, None], strict=bool(file.functions))
        )
        return replace(
            file,
            docstring=docstring,
            imports=imports,
            functions=functions,
            end_comments=self.take(None),
        )

    def block(self, node: "_Block", before: int | None) -> "_Block":
        """A compound statement: its header, its body, and the comments that end the body.

        `before` is the line of what follows the statement.
        """
        inside = node.docstring if isinstance(node, ast.Function) else None
        above = self.take(node.span.line)
        beside = self.take((inside or node.body[0]).span.line, alone=False)
        comments = self.comments(node.span.line, above, beside)
        if isinstance(node, ast.Function):
            node = replace(node, docstring=inside and self.simple(inside))
        body: list[ast.Statement] = []
        orelse = node.orelse if isinstance(node, ast.If) else None
        ends: list[int | None] = [statement.span.line for statement in node.body[1:]]
        ends.append(orelse.span.line if orelse else before)
        for statement, end in zip(node.body, ends, strict=True):
            if isinstance(statement, ast.ForLoop | ast.If):
                body.append(self.block(statement, end))
            else:
                body.append(self.simple(statement))
        end_comments = self.take(ends[-1], column=node.span.column + 1)
        node = replace(node, body=tuple(body), comments=comments, end_comments=end_comments)
        if isinstance(node, ast.If) and orelse:
            node = replace(node, orelse=self.block(orelse, before))
        return node

    def simple(self, node: _Node) -> _Node:
        """A statement without a body."""
        above = self.take(node.span.line)
        inner = self.take(node.span.end_line)
        beside = self.take(node.span.end_line + 1, alone=False)
        return replace(node, comments=self.comments(node.span.line, above + inner, beside))

    def comments(self, line: int, above: tuple[str, ...], beside: tuple[str, ...]) -> ast.Comments:
        first = line - 1
        while first > 0 and self.lines[first - 1].lstrip().startswith("#"):
            first -= 1
        blank = first > 0 and not self.lines[first - 1].strip()
        return ast.Comments(above, "  ".join(beside), blank)

    def take(
        self, before: int | None, alone: bool | None = None, column: int = 1
    ) -> tuple[str, ...]:
        """The next comments above line `before` that stand alone (or not) right of `column`."""
        taken: list[str] = []
        while self.waiting:
            comment = self.waiting[0]
            if before is not None and comment.line >= before:
                break
            if (alone is not None and comment.alone != alone) or comment.column < column:
                break
            taken.append(self.waiting.popleft().text)
        return tuple(taken)


_Block = TypeVar("_Block", bound=ast.Function | ast.ForLoop | ast.If | ast.Else)
