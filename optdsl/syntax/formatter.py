"""The one layout of `.opt` text. Comments, docstrings and numbers stay as they were written."""

from optdsl.syntax import ast

INDENT = "    "

BINDING: dict[str, int] = dict.fromkeys(ast.COMPARISONS, 1) | {
    "+": 2,
    "-": 2,
    "*": 3,
    "/": 3,
    "negation": 4,
    "**": 5,
}
"""How tightly operators bind; parentheses are written only where they are needed."""

ATOM = 6


def format_file(file: ast.File) -> str:
    """The file's text in the standard layout; formatting it again changes nothing."""
    sections: list[list[str]] = []
    if file.docstring:
        sections.append(_lines(file.docstring.comments, file.docstring.text, ""))
    if file.imports:
        imports = [_lines(node.comments, _import(node), "") for node in file.imports]
        sections.append([line for lines in imports for line in lines])
    sections += [_function(node) for node in file.functions]
    if file.end_comments:
        sections.append(list(file.end_comments))
    return "\n\n".join("\n".join(section) for section in sections) + "\n" if sections else ""


def format_expression(node: ast.Expression) -> str:
    """An expression with the fewest parentheses."""
    return _expression(node)[0]


def _function(node: ast.Function) -> list[str]:
    parameters = ", ".join(_parameter(parameter) for parameter in node.parameters)
    lines = _lines(node.comments, f"def {node.name.text}({parameters}):", "")
    if node.docstring:
        lines += _lines(node.docstring.comments, node.docstring.text, INDENT)
    return lines + _body(node.body, INDENT, first=not node.docstring) + [
        INDENT + comment for comment in node.end_comments
    ]  # fmt: skip


def _body(body: tuple[ast.Statement, ...], indent: str, first: bool = True) -> list[str]:
    lines: list[str] = []
    for statement in body:
        if statement.comments.blank_before and not first:
            lines.append("")
        first = False
        lines += _lines(statement.comments, _statement(statement), indent)
        if isinstance(statement, ast.ForLoop | ast.If):
            lines += _block(statement, indent + INDENT)
        if isinstance(statement, ast.If) and statement.orelse:
            lines += _lines(statement.orelse.comments, "else:", indent)
            lines += _block(statement.orelse, indent + INDENT)
    return lines


def _block(node: ast.ForLoop | ast.If | ast.Else, indent: str) -> list[str]:
    return _body(node.body, indent) + [indent + comment for comment in node.end_comments]


def _statement(node: ast.Statement) -> str:
    match node:
        case ast.Assign():
            targets = ", ".join(target.text for target in node.targets)
            return f"{targets} = {format_expression(node.value)}"
        case ast.Return():
            return f"return {', '.join(format_expression(value) for value in node.values)}"
        case ast.ForLoop():
            count = format_expression(node.count)
            return f"for {node.variable.text} in {node.function.text}({count}):"
        case ast.If():
            return f"if {format_expression(node.condition)}:"
        case ast.Broken():
            raise ValueError("a file with syntax errors has no layout")


def _lines(comments: ast.Comments, text: str, indent: str) -> list[str]:
    beside = f"  {comments.beside}" if comments.beside else ""
    return [*(indent + comment for comment in comments.above), indent + text + beside]


def _import(node: ast.Import) -> str:
    return f"from {node.module.text} import {', '.join(name.text for name in node.names)}"


def _parameter(node: ast.Parameter) -> str:
    text = node.name.text
    if node.annotation:
        argument = node.annotation.argument
        text += f": {node.annotation.name.text}" + (f"[{argument.text}]" if argument else "")
    if node.default:
        spaced = " = " if node.annotation else "="
        text += f"{spaced}{node.default.text}"
    return text


def _expression(node: ast.Expression) -> tuple[str, int]:
    """The text, and how tightly it binds."""
    match node:
        case ast.Number():
            return node.text, BINDING["negation"] if node.text.startswith("-") else ATOM
        case ast.Name():
            return node.text, ATOM
        case ast.Missing():
            raise ValueError("an expression with an error has no layout")
        case ast.Call():
            args = ", ".join(format_expression(arg) for arg in node.args)
            return f"{node.function.text}({args})", ATOM
        case ast.Negation():
            minimum = ATOM if isinstance(node.operand, ast.Number) else BINDING["negation"]
            return f"-{_operand(node.operand, minimum)}", BINDING["negation"]
        case ast.Binary():
            binding = BINDING[node.operator]
            if node.operator == "**":  # groups to the right; its exponent may be a negation
                left, right = _operand(node.left, ATOM), _operand(node.right, BINDING["negation"])
            else:
                left = _operand(node.left, binding + (binding == 1))
                right = _operand(node.right, binding + 1)
            return f"{left} {node.operator} {right}", binding


def _operand(node: ast.Expression, minimum: int) -> str:
    text, binding = _expression(node)
    return f"({text})" if binding < minimum else text
