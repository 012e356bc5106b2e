"""Going on after syntax errors: what is found, and what must not follow from an error."""

import pytest

from optdsl.diagnostics import Source
from optdsl.frontend import elaborate

HEAD, TAIL = "def train(w, g, m, lr):\n", "    return lr * m, m\n"


def found(text: str) -> list[tuple[str, int]]:
    """Codes and lines."""
    diagnostics = elaborate(Source("<string>", text)).diagnostics
    return [(diagnostic.code, diagnostic.span.line) for diagnostic in diagnostics]


@pytest.mark.parametrize(
    "broken",
    [
        "n = = g",
        "n, m = g g",
        "n = interp(g, m,\n        2 3)",
        "n = (g\n        + w",
        "for n in range(3)\n        m = n * g",
        "for n range(3):\n        m = n * g",
        "if g > > 0:\n        n = g\n    else:\n        n = w",
        "n += 1",
        "n: float = 3",
    ],
)
def test_a_name_bound_in_a_broken_statement_is_not_unknown(broken: str) -> None:
    codes = {code for code, _ in found(f"{HEAD}    {broken}\n    m = m + n\n{TAIL}")}
    assert codes
    assert codes <= {"E005", "E006", "E007", "E202"}


@pytest.mark.parametrize(
    "broken",
    [
        "def half(x:\n    return x\n",
        "def half(x)\n    return x\n",
        "def half(x):\n\n",
        "from helpers import half, = third\n",
        "half = 2\n",
        "from nowhere import half\n",
        "from adamw import half\n",
    ],
)
def test_a_helper_declared_in_a_broken_place_is_not_unknown(broken: str) -> None:
    assert len(found(f"{broken}{HEAD}    m = half(g)\n    a, b = half(m)\n{TAIL}")) == 1


def test_errors_after_broken_headers_are_found() -> None:
    text = "def half(x\n    y = x +\n    return y\ndef train(w, g, m lr):\n    m = = g\n" + TAIL
    assert found(text) == [("E005", 1), ("E006", 2), ("E006", 4), ("E006", 5)]


def test_the_end_of_a_line_is_where_the_line_ends() -> None:
    text = HEAD + "    m = g *  # why\n\n\n" + TAIL
    (diagnostic,) = elaborate(Source("<string>", text)).diagnostics
    assert (diagnostic.span.line, diagnostic.span.end_line) == (2, 2)


def test_a_name_that_is_no_name_is_reported_once() -> None:
    assert found(HEAD + "    lambda = g\n    m = lambda + lambda * None\n" + TAIL) == [
        ("E104", 2),
        ("E104", 3),
    ]


def test_an_expression_that_is_too_deep_has_no_value() -> None:
    assert found(f"def train(g):\n    g = {' + '.join(['g'] * 150)}\n    return g\n") == [
        ("E009", 2)
    ]
