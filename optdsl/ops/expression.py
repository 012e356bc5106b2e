"""The table's expressions as Python functions."""

from collections.abc import Callable
from functools import cache
from typing import Any

from optdsl.ops.opdef import OpDef

Expression = Callable[..., Any]


@cache
def lower_function(op: OpDef) -> Expression:
    """`op.lower` as a function of `xp`, `n`, a list of arguments and a list of sums."""
    return _function(op, op.lower)


@cache
def sum_functions(op: OpDef) -> tuple[Expression, ...]:
    """`op.sums`, each as such a function."""
    return tuple(_function(op, text) for text in op.sums)


def _function(op: OpDef, text: str) -> Expression:
    """Compile an expression of the table; the table is part of optdsl, never a user's text."""
    places = {name: f"args[{i}]" for i, name in enumerate(op.args)}
    places |= {f"s{i}": f"sums[{i}]" for i in range(len(op.sums))}
    source = text.format(**places, n="n")
    space: dict[str, Any] = {}
    if op.helper:
        import jax.numpy as jnp

        space["jnp"] = jnp
        exec(op.helper, space)
    return eval(f"lambda xp, args, sums=(), n=1: {source}", space)
