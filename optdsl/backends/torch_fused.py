"""Calls of `torch._foreach_*` joined where one call does the work of two, and done in place.

Each call reads and writes every array, so a step takes as long as it has calls: `x + a * y` is one
(`alpha`), as are `x + a * y * z` and `x + a * y / z` (`addcmul`, `addcdiv`). They round once where
the two calls round twice.
"""

import ast
from collections.abc import Callable

from optdsl.backends.emit_statements import parse

PREFIX = "torch._foreach_"

_SUMS = ("add", "sub")
_PAIRS = {"mul": "addcmul", "div": "addcdiv"}

IsNumber = Callable[[ast.expr], bool]


def joined(node: ast.expr, is_number: IsNumber, target: str = "") -> ast.expr:
    """An expression with its outermost sum joined with one of its terms, where that is possible.

    Args:
        node: made of calls of foreach, the inner ones joined already.
        is_number: whether an expression is a number of Python's.
        target: the list that is assigned; the term that reads it comes first, for `in_place`.
    """
    name = _name(node)
    if not isinstance(node, ast.Call) or name.rstrip("_") not in _SUMS:
        return node
    first, second = node.args
    if name == "add" and _reads(second, target):
        first, second = second, first
    call = _joined(name, first, second, is_number)
    if call is None and name == "add" and not _reads(first, target):
        call = _joined(name, second, first, is_number)
    return call or ast.Call(node.func, [first, second], node.keywords)


def in_place(node: ast.expr, name: str) -> list[str] | None:
    """The statements that make an expression of a list in the list itself, if calls of foreach
    make it of nothing else that reads the list."""
    calls: list[ast.Call] = []
    while isinstance(node, ast.Call) and _name(node) and node.args:
        calls.insert(0, node)
        node = node.args[0]
    rest = [each for call in calls for each in (*call.args[1:], *call.keywords)]
    if not calls or ast.unparse(node) != name or any(_reads(each, name) for each in rest):
        return None
    lines: list[str] = []
    for call in calls:
        changed = ast.Call(
            parse(f"{PREFIX}{_name(call)}_"), [ast.Name(name), *call.args[1:]], call.keywords
        )
        lines.append(ast.unparse(changed))
    return lines


def _joined(name: str, rest: ast.expr, term: ast.expr, is_number: IsNumber) -> ast.expr | None:
    """A sum of two lists, or a difference, as one call with the parts of its second term."""
    if not _is_list(rest, is_number):
        return None
    is_negative, underscore = name.startswith("sub"), name[3:]
    match term:
        case ast.Call(args=[inner, factor]) if _name(term) == "mul" and is_number(factor):
            pass
        case _:
            inner, factor = term, None
    match inner:
        case ast.Call(args=[a, b]) if _name(inner) in _PAIRS and _is_list(b, is_number):
            value = ast.Constant(1) if factor is None else factor
            value = ast.UnaryOp(ast.USub(), value) if is_negative else value
            keywords = [ast.keyword("value", value)] if is_negative or factor is not None else []
            return ast.Call(
                parse(PREFIX + _PAIRS[_name(inner)] + underscore), [rest, a, b], keywords
            )
        case _:
            pass
    if factor is None:
        return None
    return ast.Call(parse(PREFIX + name), [rest, inner], [ast.keyword("alpha", factor)])


def _name(node: ast.expr) -> str:
    """What stands behind the prefix, or nothing for what is no call of foreach."""
    if not isinstance(node, ast.Call):
        return ""
    text = ast.unparse(node.func)
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else ""


def _is_list(node: ast.expr, is_number: IsNumber) -> bool:
    """Whether an argument of foreach is a list of tensors, not a number or `numbers(...)`."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) != "numbers"
    return not is_number(node)


def _reads(node: ast.AST, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node))
