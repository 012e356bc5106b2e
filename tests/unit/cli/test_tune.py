"""`optdsl tune`."""

import pytest

from optdsl.cli.heat_map import show_heat_map
from optdsl.comparison.tune import Cell, Setting
from optdsl.tasks.scores import FAILED

BROKEN_TASK = """
import jax.numpy as jnp
import optdsl.tasks

task = optdsl.tasks.Task(
    "mine", "its loss has no gradient", 5,
    init=lambda key: {"x": jnp.zeros(3)},
    plan=lambda key: jnp.zeros(5),
    loss=lambda weights, step: weights["x"],
    score=lambda weights, part: 0.0,
    learning_rate=0.1,
)
"""


def test_json_and_train_agree(cli) -> None:
    result = cli("tune", "lion", "--task", "quadratic", "--seeds", 1, "--json")
    assert (result.code, result.err) == (0, "")
    found = result.json
    best = found["best"]
    assert set(best["setting"]) == {"lr", "weight_decay"}
    assert best["at_border"] == []
    assert found["decay"] == "weight_decay"
    assert len(found["grid"]) == 48
    assert all(set(cell) == {"setting", "mean", "standard_error"} for cell in found["grid"])
    assert {"setting": best["setting"], "mean": best["as_found"]}.items() <= next(
        cell for cell in found["grid"] if cell["setting"] == best["setting"]
    ).items()
    assert best["validation_standard_error"] > 0
    # it is a good setting on seeds that tuning did not see
    trained = cli(
        *("train", "lion", "--task", "quadratic", "--seeds", 2, "--lr", best["setting"]["lr"]),
        *("--set", f"weight_decay={best['setting']['weight_decay']}", "--json"),
    ).json
    assert min(trained["fitness"]) > 4 * best["validation"]


def test_for_people(cli) -> None:
    """A decay that --set fixes is not swept."""
    args = ("tune", "lion", "--task", "quadratic", "--seeds", 2, "--set", "weight_decay=0.5")
    result = cli(*args)
    assert (result.code, result.out) == (0, "")
    table, _, rest = result.err.partition("* the best, – diverged\n")
    assert "Mean validation score" in table
    assert table.count(" * ") == 1
    lines = rest.splitlines()
    assert lines[0].startswith("best of 48 settings: lr 0.")
    assert ", weight_decay 0.5: " in lines[0]
    assert lines[0].endswith("as it was found, on 2 seeds")
    assert lines[1].startswith("on 16 fresh seeds: validation -")
    assert lines[2].startswith("quadratic, ")


def test_the_heat_map_has_learning_rates_down_and_decays_across(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cells = [
        Cell(Setting(rate, (("λ", decay),)), (-rate - decay,), on_grid=True)
        for rate in (0.01, 0.1)
        for decay in (0.0, 0.5)
    ]
    between = Cell(Setting(0.05, (("λ", 0.2),)), (-0.25,), on_grid=False)
    failed = Cell(Setting(1.0, (("λ", 0.0),)), (FAILED, -1.0), on_grid=True)
    show_heat_map("title", [*cells, between, failed], "λ", cells[0])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].strip() == "title"
    assert lines[2].split("┃")[1:4] == [" lr \\ λ ", "         0 ", "     0.5 "]
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in lines[4:7]]
    assert rows == [
        ["0.01", "-0.0100 *", "-0.5100"],
        ["0.1", "-0.1000", "-0.6000"],
        ["1", "–", ""],
    ]


def test_a_program_that_always_diverges_is_a_finding(cli, write) -> None:
    far = write("far.opt", "def train(g, lr):\n    return g * 1e30 + lr\n")
    result = cli("tune", far, "--task", "quadratic", "--seeds", 1, "--json")
    assert result.code == 1
    assert result.json["best"]["validation"] is None
    assert result.err == "optdsl: training diverged at every setting\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("lion",), "--task"),
        (("lion", "--task", "quadratik"), "did you mean `quadratic`"),
        (("lion", "--task", "quadratic", "--seeds", "0"), "--seeds"),
        (("lion", "--task", "quadratic", "--set", "weight_decai=1"), "did you mean"),
        (("liom", "--task", "quadratic"), "did you mean `lion`"),
    ],
)
def test_wrong_usage(cli, args: tuple[str, ...], message: str) -> None:
    result = cli("tune", *args)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_a_task_that_cant_be_trained_is_a_usage_error(cli, write) -> None:
    result = cli("tune", "sgd", "--task", write("task.py", BROKEN_TASK))
    assert (result.code, result.out) == (2, "")
    assert "ValueError: `loss` of task `mine` must give one floating-point number" in result.err
    assert len(result.err.splitlines()) == 1
