"""`optdsl identify`."""


def test_json(cli, write) -> None:
    text = "def train(w, g, a, lr):\n    u = sign(interp(g, a, 0.9)) + 0.001 * w\n"
    file = write("mine.opt", text + "    return lr * u, interp(g, a, 0.99)\n")
    result = cli("identify", file, "--json")
    assert (result.code, result.err) == (0, "")
    found = result.json
    assert set(found) == {"name", "equal", "distance", "nearest", "difference"}
    assert (found["name"], found["equal"], found["distance"]) == ("lion", "structural", 0.0)
    assert found["nearest"][0]["name"] == "lion"
    assert found["difference"] == {"only_program": [], "only_known": [], "constants": {}}


def test_for_people(cli, write) -> None:
    file = write("mine.opt", "def train(g, m, lr):\n    m = g + 0.8 * m\n    return lr * m, m\n")
    result = cli("identify", file)
    assert (result.code, result.out) == (0, "")
    lines = result.err.splitlines()
    assert lines[0] == "momentum: the same program (canonical, ignoring constants)"
    assert lines[1] == "    momentum = 0.8 instead of 0.9"
    assert "Nearest known optimizers" in result.err


def test_a_program_with_errors(cli, write, tmp_path) -> None:
    broken = write("broken.opt", "def train(g):\n    return h\n")
    result = cli("identify", broken, "--json")
    assert (result.code, result.out) == (1, "")
    assert "E101" in result.err
    result = cli("identify", tmp_path / "missing.opt")
    assert (result.code, result.out) == (2, "")
    assert "E001" in result.err


def test_the_same_updates_from_other_statements(cli, write) -> None:
    """An average is momentum with another learning rate, whatever the two share in form."""
    file = write(
        "mine.opt", "def train(g, m, lr):\n    m = interp(g, m, 0.9)\n    return lr * m, m\n"
    )
    result = cli("identify", file)
    assert result.err.splitlines()[0] == (
        "momentum: other statements, but the same updates at 0.1 times the learning rate"
    )
