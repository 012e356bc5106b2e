"""Whether two programs are the same, and which operations have no equal in the other."""

import pytest

from optdsl.diagnostics import Source
from optdsl.frontend import find_source, load, stdlib
from optdsl.ir import Program, print_operation
from optdsl.passes.compare import LEVELS, Comparison, compare

BOTH = LEVELS[:2]


def parse(text: str) -> Program:
    return load(Source("<test>", text))


def shown(a: str, b: str, level: str, ignore: bool = False) -> tuple[list[str], list[str]]:
    first, second = parse(a), parse(b)
    found = compare(first, second, level, ignore)
    back = compare(second, first, level, ignore)
    assert back == Comparison(found.equal, found.only_second, found.only_first)
    return (
        [print_operation(first, i) for i in found.only_first],
        [print_operation(second, i) for i in found.only_second],
    )


def test_the_levels() -> None:
    assert LEVELS == ("structural", "canonical", "behavioural")


@pytest.mark.parametrize("level", BOTH)
@pytest.mark.parametrize("ignore", [False, True])
@pytest.mark.parametrize("name", stdlib())
def test_every_program_equals_itself(name: str, level: str, ignore: bool) -> None:
    program = load(find_source(name))
    assert compare(program, program, level, ignore) == Comparison(True)


def test_positions_of_what_differs() -> None:
    a = """
def train(w, g, m, lr):
    m = interp(g, m, 0.9)
    dead = cos(m)
    s = sign(m)
    d = 0.1 * w
    u = s + d
    u = lr * u
    return u, m
"""
    b = a.replace("sign", "tanh").replace("    dead = cos(m)\n", "")
    first, second = parse(a), parse(b)
    assert compare(first, second, "structural") == Comparison(False, (2, 4, 5), (1, 3, 4))
    assert shown(a, b, "structural") == (
        ["s = sign(m)", "u = s + d", "u = lr * u"],
        ["s = tanh(m)", "u = s + d", "u = lr * u"],
    )


def test_only_one_has_more() -> None:
    a = "def train(g, lr):\n    return lr * g\n"
    b = "def train(g, lr):\n    u = lr * g\n    return u + u\n"
    assert shown(a, b, "structural") == ([], ["t = u + u"])


def test_a_renewal_that_differs_shows_in_all_that_reads_the_state() -> None:
    a = "def train(g, m, lr):\n    u = lr * m\n    m = m + g\n    c = cos(g)\n    return u + c, m\n"
    b = a.replace("m = m + g", "m = m - g")
    first, second = shown(a, b, "structural")
    assert "m = m + g" in first
    assert "m = m - g" in second
    assert "c = cos(g)" not in first + second


def test_what_one_level_forgives_is_not_shown_at_the_next() -> None:
    a = "def train(w, g, lr):\n    q = g * g\n    c = cos(w)\n    return lr * q + c\n"
    b = "def train(w, g, lr):\n    q = square(g)\n    c = sin(w)\n    return lr * q + c\n"
    assert shown(a, b, "structural")[0] == ["q = g * g", "c = cos(w)", "t = lr * q", "t = t + c"]
    assert shown(a, b, "canonical") == (["c = cos(w)", "t = t + c"], ["c = sin(w)", "t = t + c"])


@pytest.mark.parametrize("level", BOTH)
def test_ignoring_constants(level: str) -> None:
    a = "def train(w, g, m, lr):\n    m = interp(g, m, 0.9)\n    return lr * (m + 0.1 * w), m\n"
    b = ("def train(w, g, m, lr, b=0.5, d=3.0):\n    m = interp(g, m, b)\n    lr = lr * 0.001\n"
         "    return lr * (m + d * w), m\n")  # fmt: skip
    assert not compare(parse(a), parse(b), level).equal
    assert compare(parse(a), parse(b), level, True) == Comparison(True)


@pytest.mark.parametrize("level", BOTH)
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("return w, m", "return g, m"),
        ("x = cos(m)\n    y = sin(m)\n    return x + g, y", "x = cos(m)\n    y = sin(m)\n"
         "    return x + g, x"),
        ("return lr * g + m, g", "return lr * g + m, w"),
        ("return g + m, 0.5", "return g + m, 0.7"),
    ],
    ids=["updates", "renewals", "inputs", "constants"],
)  # fmt: skip
def test_where_only_what_is_returned_differs_something_is_shown(a: str, b: str, level: str) -> None:
    head = "def train(w, g, m, lr):\n    "
    found = compare(parse(f"{head}{a}\n"), parse(f"{head}{b}\n"), level)
    assert not found.equal
    assert found.only_first or found.only_second


def test_state_names_and_order_do_not_matter() -> None:
    a = "def train(g, m, v):\n    m = interp(g, m, 0.9)\n    v = v + g\n    return m * v, m, v\n"
    b = "def train(g, x, y):\n    x = x + g\n    y = interp(g, y, 0.9)\n    return x * y, x, y\n"
    for level in BOTH:
        assert compare(parse(a), parse(b), level) == Comparison(True)
