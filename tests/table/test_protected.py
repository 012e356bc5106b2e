"""Each row's `protected` expression: legal text, and inside of the function's domain everywhere."""

import itertools
from typing import Any

import numpy as np
import pytest
from support.grids import numbers
from support.programs_of_one import RESULT, argument_name, program_of_one
from support.running import reference_stepper

from optdsl.diagnostics import Source
from optdsl.ir import verify
from optdsl.ops import BY_NAME, CALLABLE, OPS, Kind, OpDef
from optdsl.passes.infer import infer
from optdsl.passes.protect import protect
from optdsl.syntax import ast, parse_file

PROTECTED = [op for op in OPS if op.protected]

POLES = {"log": 0.0, "log10": 0.0, "log2": 0.0}
"""Where a protected function is infinite, and not from overflow."""


def name(op: OpDef) -> str:
    return op.name


def finite_arguments(op: OpDef) -> list[Any]:
    values = numbers("float32")
    values = values[np.isfinite(values)]
    if len(op.args) == 1:
        return [values]
    few = values[::17]
    return [np.array(column) for column in zip(*itertools.product(few, few), strict=True)]


def called(node: ast.Expression) -> set[str]:
    """The functions and names that an expression uses."""
    match node:
        case ast.Call():
            return {node.function.text}.union(*(called(arg) for arg in node.args))
        case ast.Binary():
            return called(node.left) | called(node.right)
        case ast.Negation():
            return called(node.operand)
        case ast.Name():
            return {node.text}
        case ast.Number():
            return set()


def test_some_rows_are_protected() -> None:
    assert {"log", "sqrt", "/", "power"} <= {op.name for op in PROTECTED}


@pytest.mark.parametrize("op", PROTECTED, ids=name)
def test_it_is_an_expression_of_known_functions(op: OpDef) -> None:
    parameters = ", ".join(op.args)
    source = Source("row", f"def f({parameters}):\n    return {op.protected}\n")
    parsed = parse_file(source)
    assert parsed.diagnostics == ()
    assert parsed.file
    (returned,) = parsed.file.functions[0].body
    assert isinstance(returned, ast.Return)
    used = called(returned.values[0])
    assert set(op.args) <= used <= set(op.args) | set(CALLABLE) | {"where"}


@pytest.mark.parametrize("op", PROTECTED, ids=name)
def test_it_keeps_kinds(op: OpDef) -> None:
    for kinds in itertools.product((Kind.SCALAR, Kind.PER_ARRAY, Kind.ARRAY), repeat=len(op.args)):
        program = program_of_one(op, kinds)
        protected = verify(protect(program))
        assert infer(protected)[protected.outputs[-1]] == infer(program)[program.outputs[-1]]


def results(op: OpDef, guarded: bool) -> tuple[list[Any], Any]:
    program = program_of_one(op, [Kind.ARRAY] * len(op.args))
    args = finite_arguments(op)
    zeros = [np.zeros(len(args[0]), np.float32)]
    state = {argument_name(i): [values] for i, values in enumerate(args)} | {RESULT: zeros}
    stepper = reference_stepper(protect(program) if guarded else program)
    return args, stepper(zeros, zeros, state, 1.0, 1).state[RESULT][0]


@pytest.mark.parametrize("op", PROTECTED, ids=name)
def test_it_is_never_nan(op: OpDef) -> None:
    args, values = results(op, guarded=True)
    bad = np.isnan(values)
    assert not bad.any(), [each[bad][:5] for each in args]


@pytest.mark.parametrize("op", [op for op in PROTECTED if len(op.args) == 1], ids=name)
def test_it_is_infinite_at_poles_only(op: OpDef) -> None:
    (x,), values = results(op, guarded=True)
    assert set(np.abs(x[np.isinf(values)])) <= {POLES.get(op.name)}


@pytest.mark.parametrize("op", PROTECTED, ids=name)
def test_it_changes_nothing_inside_the_domain(op: OpDef) -> None:
    args, plain = results(op, guarded=False)
    _, values = results(op, guarded=True)
    inside = np.isfinite(plain)
    if op.name in ("/", "reciprocal"):
        inside &= np.abs(args[-1]) > 1e-8  # the guard's width
    if op.name == "arctanh":
        inside &= np.abs(args[0]) < 0.999999
    if op.name == "power":
        inside &= args[0] >= 0
    if op.name == "log1p":
        inside &= args[0] >= 0
    assert inside.any()
    np.testing.assert_array_equal(values[inside], plain[inside])


def test_unprotected_rows_stay() -> None:
    program = program_of_one(BY_NAME["+"], [Kind.ARRAY, Kind.ARRAY])
    assert protect(program) == program
