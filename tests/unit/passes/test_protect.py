"""Protected programs: functions kept inside of their domains."""

import itertools

import numpy as np
import pytest

from optdsl.backends.reference import reference_step
from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load, stdlib
from optdsl.ir import Program, print_program, verify
from optdsl.ops import OPS, Kind, OpDef
from optdsl.passes.infer import infer
from optdsl.passes.protect import protect

PROTECTED = [op for op in OPS if op.protected]
FINITE = (0.0, -0.0, 1e-3, 0.5, 1.0, 1.5, 30.0)
VALUES = tuple(sorted({*FINITE, *(-value for value in FINITE)}))


def parse(text: str) -> Program:
    return load(Source("<test>", text))


def call(op: OpDef) -> str:
    return op.written(*("wg"[: len(op.args)]))


def test_which_functions_have_a_protected_variant() -> None:
    assert {op.name for op in PROTECTED} == {
        "arcsin", "arccos", "arccosh", "arctanh", "log", "log10", "log2", "log1p", "sqrt",
        "reciprocal", "/", "power",
    }  # fmt: skip


@pytest.mark.parametrize("op", PROTECTED, ids=lambda op: op.name)
def test_no_nan_from_numbers(op: OpDef) -> None:
    """Nor infinities, but log's at 0 and power's beyond the range."""
    program = verify(protect(parse(f"def train(w, g):\n    return {call(op)}\n")))
    pairs = np.array(list(itertools.product(VALUES, VALUES)), np.float64)
    (found,) = reference_step(program, [pairs[:, 0]], [pairs[:, 1]], None).update
    assert not np.any(np.isnan(found))
    if not op.name.startswith("log") and op.name != "power":
        assert np.all(np.isfinite(found))


@pytest.mark.parametrize("op", PROTECTED, ids=lambda op: op.name)
def test_the_same_inside_of_the_domain(op: OpDef) -> None:
    text = f"def train(w, g):\n    return {call(op)}\n"
    plain, protected = parse(text), protect(parse(text))
    low, high = (1.0, 5.0) if op.name == "arccosh" else (0.01, 0.99)
    x = np.linspace(low, high, 50)
    y = x[::-1].copy()
    one, two = (reference_step(p, [x], [y], None).update[0] for p in (plain, protected))
    np.testing.assert_array_equal(one, two)


def test_what_has_no_variant_stays_as_it_is() -> None:
    program = parse("def train(w, g, m, lr):\n    m = interp(g, m, 0.9)\n"
                    "    return lr * tanh(m) * norm(w), m\n")  # fmt: skip
    assert protect(program) == program


def test_the_result_keeps_its_name_and_prints_as_a_program() -> None:
    program = protect(parse('"""Doc."""\n\ndef train(w, g, lr):\n    root = sqrt(g)\n'
                            "    root = root / w\n    return lr * root\n"))  # fmt: skip
    text = print_program(program)
    assert parse(text) == program
    assert program.doc == "Doc."
    assert "    root = sqrt(" in text
    assert text.splitlines()[-1] == "    return t"
    names = [operation.name for operation in program.operations]
    assert names.count("root") == 2


def test_names_are_never_mixed_up() -> None:
    """The temporaries of a variant hide nothing that is still read."""
    text = "def train(w, g, t, t_2):\n    t = log(t + t_2)\n    return t / t_2 + sqrt(t), t, w\n"
    program = verify(protect(parse(text)))
    weights = [np.array([0.3, -2.0])]
    state = {"t": [np.array([-1.0, 4.0])], "t_2": [np.array([0.5, 0.0])]}
    found = reference_step(program, weights, weights, state)
    t = np.log(np.abs(state["t"][0] + state["t_2"][0]))
    expected = t / np.array([0.5, 1e-8]) + np.sqrt(np.abs(t))
    np.testing.assert_allclose(found.update[0], expected)
    np.testing.assert_allclose(found.state["t"][0], t)


@pytest.mark.parametrize(
    ("expression", "kind"),
    [("sqrt(norm(g))", Kind.PER_ARRAY), ("log(2)", Kind.SCALAR), ("1 / step", Kind.SCALAR)],
)
def test_kinds_stay(expression: str, kind: Kind) -> None:
    text = f"def train(g, step):\n    x = {expression}\n    return g * x\n"
    program = verify(protect(parse(text)))
    position = [operation.name for operation in program.operations].index("x")
    assert infer(program)[len(program.inputs) + position] == kind


@pytest.mark.parametrize("name", stdlib())
def test_the_standard_library_can_be_protected(name: str) -> None:
    program = verify(protect(load(find_source(name))))
    assert load(Source("<printed>", print_program(program))) == program


def test_protecting_a_square_root_twice_changes_nothing_more() -> None:
    program = protect(parse("def train(g):\n    return sqrt(g)\n"))
    x = [np.array([-4.0, 9.0])]
    for one in (program, protect(program)):
        np.testing.assert_array_equal(reference_step(one, x, x, None).update[0], [2.0, 3.0])
