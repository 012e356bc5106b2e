"""Calls of foreach that are joined, and done in place."""

import ast

import pytest

from optdsl.backends.emit_statements import parse
from optdsl.backends.torch_fused import PREFIX, in_place, joined


def long(text: str) -> ast.expr:
    """`~add(...)` for `torch._foreach_add(...)`."""
    return parse(text.replace("~", PREFIX))


def is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or ast.unparse(node) in ("lr", "1 - lr")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~add(xs, ~mul(ys, lr))", "~add(xs, ys, alpha=lr)"),
        ("~add(~mul(ys, lr), xs)", "~add(xs, ys, alpha=lr)"),
        ("~sub(xs, ~mul(ys, lr))", "~sub(xs, ys, alpha=lr)"),
        ("~sub_(xs, ~mul(ys, 1 - lr))", "~sub_(xs, ys, alpha=1 - lr)"),
        ("~add(xs, ~mul(ys, zs))", "~addcmul(xs, ys, zs)"),
        ("~add(xs, ~div(ys, zs))", "~addcdiv(xs, ys, zs)"),
        ("~sub(xs, ~div(ys, zs))", "~addcdiv(xs, ys, zs, value=-1)"),
        ("~add(xs, ~mul(~mul(ys, ys), lr))", "~addcmul(xs, ys, ys, value=lr)"),
        ("~sub_(xs, ~mul(~div(ys, zs), 1 - lr))", "~addcdiv_(xs, ys, zs, value=-(1 - lr))"),
        ("~sub(~mul(xs, lr), ys)", "~sub(~mul(xs, lr), ys)"),
        ("~add(lr, ~mul(ys, zs))", "~add(lr, ~mul(ys, zs))"),
        ("~add(xs, ~mul(ys, numbers(ts)))", "~add(xs, ~mul(ys, numbers(ts)))"),
        ("~add(xs, ~add(ys, zs))", "~add(xs, ~add(ys, zs))"),
        ("~mul(xs, ~mul(ys, lr))", "~mul(xs, ~mul(ys, lr))"),
        ("[x for x in xs]", "[x for x in xs]"),
    ],
)
def test_sums_are_joined_with_a_term(text: str, expected: str) -> None:
    assert ast.unparse(joined(long(text), is_number)) == ast.unparse(long(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~add(~mul(gs, 2), ~mul(ms, 3))", "~add(~mul(ms, 3), gs, alpha=2)"),
        ("~add(~mul(ms, 3), ~mul(gs, 2))", "~add(~mul(ms, 3), gs, alpha=2)"),
        ("~add(gs, ~mul(ms, 3))", "~add(~mul(ms, 3), gs)"),
        ("~sub(gs, ~mul(ms, 3))", "~sub(gs, ms, alpha=3)"),
    ],
)
def test_the_term_with_the_assigned_list_comes_first(text: str, expected: str) -> None:
    assert ast.unparse(joined(long(text), is_number, "ms")) == ast.unparse(long(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~mul(ms, 3)", ["~mul_(ms, 3)"]),
        ("~add(~mul(ms, 3), gs, alpha=2)", ["~mul_(ms, 3)", "~add_(ms, gs, alpha=2)"]),
        ("~sqrt(~addcmul(ms, gs, gs))", ["~addcmul_(ms, gs, gs)", "~sqrt_(ms)"]),
        ("~add(~mul(ms, 3), ~neg(ms))", None),
        ("~mul(ms, ms)", None),
        ("~mul(gs, 3)", None),
        ("~mul(foreach_sign(ms), 3)", None),
        ("~pow(10.0, ms)", None),
        ("ms", None),
    ],
)
def test_what_is_made_in_place(text: str, expected: list[str] | None) -> None:
    lines = None if expected is None else [ast.unparse(long(line)) for line in expected]
    assert in_place(long(text), "ms") == lines
