"""Which states wait until the weights are made."""

import pytest

from optdsl.diagnostics import Source
from optdsl.frontend import load
from optdsl.passes.overwrites import made_after, made_again, write_order


@pytest.mark.parametrize(
    ("body", "order"),
    [
        ("m = g + m\n    return m", []),  # the update reads the new value alone
        ("u = g + m\n    m = g\n    return u", [(1, [0])]),
        ("u = g + m\n    return u", []),  # never overwritten
    ],
)
def test_a_state_waits_if_the_update_reads_its_old_value(body: str, order: object) -> None:
    text = f"def train(g, m):\n    {body}, m\n"
    assert write_order(load(Source("<test>", text))) == order


def test_what_a_waiting_state_reads_waits_for_it() -> None:
    text = "def train(g, m, v):\n    return g / v, g - 2 * m, v + m\n"
    assert write_order(load(Source("<test>", text))) == [(2, [0]), (1, [2])]


def test_states_that_read_each_other_have_some_order() -> None:
    text = "def train(g, m, v):\n    return g * v * m, v + g, m + g\n"
    order = write_order(load(Source("<test>", text)))
    placed = [0]
    for own, readers in order:
        assert set(readers) <= set(placed)
        placed.append(own)
    assert sorted(placed) == [0, 1, 2]


def test_a_rule_by_rank_does_not_hide_what_is_the_new_value() -> None:
    body = "if rank(w) == 2:\n        m = g + m\n        u = 2 * m\n    else:\n        m = g - m"
    text = f"def train(w, g, m):\n    {body}\n        u = m\n    return u, m\n"
    assert write_order(load(Source("<test>", text))) == []


@pytest.mark.parametrize(
    ("body", "again"),
    [
        ("u = g / sqrt(m)\n    return m - u, v, m + u", ["t", "u", "t_2"]),
        ("v = v + g\n    u = g / sqrt(v)\n    return m - u, v, m + u", ["t", "u", "t_2"]),
        ("u = g / sqrt(v)\n    return m - u, v, m + u", ["t", "u", "t_2"]),  # v never changes
        ("u = g / sqrt(v)\n    return m - u, v + g, m + u", []),  # v is another by then
        ("u = g / w\n    return m - u, v, m + u", []),  # so are the weights
        ("u = exp(m)\n    return m - u, v, m + u", []),  # an exponential takes too long
        ("u = g / (g + 1)\n    return m, v, m + u", []),  # nothing is shared
        ("u = g / (g + 1)\n    v = v + u\n    return m, v, m + u", ["t", "u", "t"]),  # with v
        ("u = g / m\n    return m - 2 * u + abs(u), v, m + u", []),  # which XLA keeps anyway
        ("u = g + m\n    return lr * u + m, v, u", ["u"]),
        ("u = g / sqrt(row_mean(square(g)))\n    return m - u, v, m + u", []),  # XLA keeps the root
        ("u = g / m\n    return m - u, v, u + abs(u)", []),
    ],
)
def test_what_a_late_state_shares_is_made_again(body: str, again: list[str]) -> None:
    program = load(Source("<test>", f"def train(w, g, v, m, lr):\n    {body}\n"))
    found = made_again(program, 2)
    assert [program.name_of(value) for value in found] == again


def test_numbers_do_not_wait() -> None:
    text = "def train(g, c: scalar):\n    return g * c, c + 1\n"
    assert write_order(load(Source("<test>", text))) == []


@pytest.mark.parametrize(
    ("parameters", "body", "order"),
    [
        ("m", "m = g + m\n    return m", {}),  # of two arrays: XLA keeps it
        ("m", "m = (g + m) / 2\n    return m", {"m": ["m"]}),
        ("m", "m = g + m\n    m = m + 1\n    return g", {}),  # nothing reads it
        ("c: scalar, m", "c = c + dot(g, m)\n    m = g + m\n    return g, c", {"m": ["c"]}),
        ("c: scalar, m", "c = c + dot(g, m)\n    m = g + m\n    return m, c", {"m": ["c", "m"]}),
        ("c: scalar, m", "c = c + dot(g, g)\n    m = g + m\n    return g, c", {}),
        ("c: scalar, m", "m = g + m\n    c = c + dot(g, m)\n    return g, c", {}),
    ],
)
def test_new_values_are_kept_and_wait_for_sums(
    parameters: str, body: str, order: dict[str, list[str]]
) -> None:
    program = load(Source("<test>", f"def train(g, {parameters}):\n    {body}, m\n"))
    found = made_after(program)
    name = program.name_of
    assert {name(value): [name(v) for v in earlier] for value, earlier in found.items()} == order
