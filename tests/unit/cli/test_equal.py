"""`optdsl equal`."""

import pytest

LEVELS = ("structural", "canonical", "behavioural")


def test_the_papers_lion_and_the_standard_librarys(cli, paper) -> None:
    pair = ("equal", paper / "program_1.opt", "lion", "--json")
    result = cli(*pair, "--ignore-constants", "--level", "canonical")
    assert (result.code, result.err) == (0, "")
    assert result.json["equal"] is True
    assert cli(*pair, "--level", "canonical").code == 1, "their weight decays differ"


@pytest.mark.parametrize("level", LEVELS)
def test_adamw_is_not_nadam(cli, level: str) -> None:
    result = cli("equal", "adamw", "nadam", "--level", level, "--json")
    assert result.code == 1
    assert result.json["equal"] is False
    assert result.json["level"] == level


def test_nor_where_constants_are_ignored(cli) -> None:
    for level in LEVELS[:2]:
        assert cli("equal", "adamw", "nadam", "--level", level, "--ignore-constants").code == 1


@pytest.mark.parametrize("level", LEVELS)
def test_a_program_is_equal_to_itself(cli, level: str) -> None:
    result = cli("equal", "prodigy", "prodigy", "--level", level, "--json")
    assert (result.code, result.err) == (0, "")
    assert result.json == {"equal": True, "level": level, "only_a": [], "only_b": []}


def test_each_level_forgives_more(cli, write) -> None:
    body = "def train(w, g, m, lr):\n    return lr * ({}), g\n"
    base = write("base.opt", body.format("g * g + m"))
    for other, equal_at in (
        ("m + g * g", LEVELS),
        ("square(g) + m", LEVELS[1:]),
        # the distributive law, which normal forms leave alone
        ("g * g + m + w * (g + m) - w * g - w * m", LEVELS[2:]),
        ("g * g + m + 0.1", ()),
    ):
        file = write("other.opt", body.format(other))
        for level in LEVELS:
            code = cli("equal", base, file, "--level", level).code
            assert code == (0 if level in equal_at else 1), (other, level)


def test_ignoring_constants(cli, write) -> None:
    one = write("one.opt", "def train(w, g, m, lr):\n    lr = lr * 0.001\n"
                "    m = interp(g, m, 0.9)\n    return lr * (m + 0.1 * w), m\n")  # fmt: skip
    two = write("two.opt", "def train(w, g, s, lr, b=0.5, wd=0.0):\n"
                "    s = interp(g, s, b)\n    return (s + wd * w) * lr, s\n")  # fmt: skip
    for level in LEVELS[:2]:
        assert cli("equal", one, two, "--level", level).code == 1
        assert cli("equal", one, two, "--level", level, "--ignore-constants").code == 0, level


def test_behaviour_without_constants_is_a_usage_error(cli) -> None:
    result = cli("equal", "lion", "lion", "--level", "behavioural", "--ignore-constants")
    assert (result.code, result.out) == (2, "")
    assert "behaviour depends on the constants" in result.err


def test_an_unknown_level_is_a_usage_error(cli) -> None:
    result = cli("equal", "lion", "lion", "--level", "exact")
    assert (result.code, result.out) == (2, "")


def test_where_they_differ(cli, write) -> None:
    a = write("a.opt", "def train(g, m, lr):\n    m = interp(g, m, 0.9)\n    s = sign(m)\n"
              "    dead = cos(g)\n    return lr * s, m\n")  # fmt: skip
    b = write("b.opt", "def train(g, m, lr):\n    m = interp(g, m, 0.9)\n    t = tanh(m)\n"
              "    return lr * t, m\n")  # fmt: skip
    result = cli("equal", a, b, "--json")
    assert (result.code, result.err) == (1, "")
    assert result.json == {
        "equal": False,
        "level": "structural",
        "only_a": ["s = sign(m)", "t = lr * s"],
        "only_b": ["t = tanh(m)", "t = lr * t"],
    }
    result = cli("equal", a, b)
    assert (result.code, result.out) == (1, "")
    assert result.err.splitlines() == [
        f"{a} and {b} are not the same at the structural level",
        f"only in {a}:",
        "    s = sign(m)",
        "    t = lr * s",
        f"only in {b}:",
        "    t = tanh(m)",
        "    t = lr * t",
    ]


def test_for_people_where_they_are_equal(cli) -> None:
    result = cli("equal", "lion", "lion")
    assert (result.code, result.out) == (0, "")
    assert result.err == "lion and lion are the same at the structural level\n"


def test_what_is_returned_is_where_they_differ_too(cli, write) -> None:
    """Same statements, other outputs: something must be shown."""
    a = write("a.opt", "def train(w, g):\n    return g\n")
    b = write("b.opt", "def train(w, g):\n    return w\n")
    result = cli("equal", a, b)
    assert result.code == 1
    assert len(result.err.splitlines()) > 1


def test_errors_in_either(cli, write, tmp_path) -> None:
    broken = write("broken.opt", "def train(g):\n    return h\n")
    for pair in ((broken, "lion"), ("lion", broken)):
        result = cli("equal", *pair, "--json")
        assert (result.code, result.out) == (1, "")
        assert "E101" in result.err
    assert cli("equal", "lion", tmp_path / "missing.opt").code == 2
