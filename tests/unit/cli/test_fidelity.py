"""`optdsl fidelity`."""

import pytest


def test_tasks_of_one_family_agree(cli) -> None:
    args = ("fidelity", "sgd", "signsgd", "lion", "--tasks", "quadratic,rosenbrock")
    result = cli(*args, "--json")
    assert (result.code, result.err) == (0, "")
    (found,) = result.json["agreements"]
    assert (found["small"], found["large"]) == ("quadratic", "rosenbrock")
    assert -1 <= found["correlation"] <= 1
    assert len(result.json["measured"]) == 6
    shown = cli(*args)
    assert (shown.code, shown.out) == (0, "")
    assert f"quadratic and rosenbrock: {found['correlation']:.2f} (" in shown.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--tasks", "quadratic"], "--tasks takes two tasks or more with commas between them"),
        (["--tasks", "quadratic,"], "--tasks takes two tasks or more"),
        (["--tasks", "quadratic,quadratic"], "--tasks quadratic is given twice"),
        (["sgd", "adam", "--tasks", "quadratic,rosenbrock"], "ranks of 2 programs tell nothing"),
        (["--tasks", "quadratic,nonsense"], "no task is called `nonsense`"),
        ([], "Missing option '--tasks'"),
    ],
)
def test_wrong_usage(cli, args: list[str], said: str) -> None:
    result = cli("fidelity", *args)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
