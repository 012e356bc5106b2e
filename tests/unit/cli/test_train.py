"""`optdsl train`."""

import math

import pytest

MY_TASK = """
import jax
import jax.numpy as jnp
import optdsl.tasks

task = optdsl.tasks.Task(
    "mine", "a parabola", 20,
    init=lambda key: {"x": jax.random.normal(key, (3,))},
    plan=lambda key: jnp.zeros(20),
    loss=lambda weights, step: jnp.sum(weights["x"] ** 2),
    score=lambda weights, part: -jnp.sum(weights["x"] ** 2),
    learning_rate=0.1,
)
"""

SGD = "def train(g, lr, momentum=0.0, scale=1.0):\n    return lr * scale * g + momentum * g\n"


def test_train_and_set(cli, write) -> None:
    sgd = write("sgd.opt", SGD)
    result = cli("train", sgd, "--task", "quadratic", "--seeds", 2, "--json")
    assert (result.code, result.err) == (0, "")
    base = result.json
    assert set(base) >= {"fitness", "seconds"}
    assert len(base["fitness"]) == len(base["test_fitness"]) == 2
    assert all(-10 < value < 0 for value in base["fitness"])
    assert base["fitness"][0] != base["fitness"][1]
    assert base["learning_rate"] == 0.1
    assert base["seconds"] > 0
    # a learning rate of 0.05 is a factor of 0.5
    one = cli("train", sgd, "--task", "quadratic", "--lr", 0.05, "--json").json
    two = cli("train", sgd, "--task", "quadratic", "--set", "scale=0.5", "--json").json
    assert len(one["fitness"]) == 1
    assert one["fitness"] != base["fitness"][:1]
    assert one["fitness"] == pytest.approx(two["fitness"], rel=1e-4)
    assert (one["learning_rate"], two["learning_rate"]) == (0.05, 0.1)


def test_for_people(cli) -> None:
    result = cli("train", "sgd", "--task", "quadratic")
    assert (result.code, result.out) == (0, "")
    lines = result.err.splitlines()
    assert lines[0].startswith("seed 0: validation -")
    assert lines[1].startswith("quadratic, learning rate 0.1, 50 steps, ")


def test_a_program_that_diverges_is_a_finding(cli, write) -> None:
    worse = write("ascent.opt", "def train(g, lr):\n    return -10 * lr * g\n")
    result = cli("train", worse, "--task", "quadratic", "--seeds", 2, "--lr", 1, "--json")
    assert result.code == 1
    assert result.json["fitness"] == [None, None]
    assert result.json["test_fitness"] == [None, None]
    assert len(result.err.splitlines()) == 1
    assert result.err.startswith("optdsl: training diverged")
    assert result.err.rstrip().endswith("for seeds 0, 1; try a smaller --lr than 1")


def test_the_papers_programs_bring_their_own_learning_rate(cli, paper) -> None:
    result = cli("train", paper / "program_3.opt", "--task", "quadratic", "--json")
    assert result.json["learning_rate"] == 1.0


def test_a_sign_is_no_learning_rate(cli, write) -> None:
    """`-lr` is no factor "of its own, as the paper's programs do" (`lr = lr * 0.001`)."""
    file = write("minus.opt", "def train(g, lr):\n    return -lr * (-g)\n")
    assert cli("train", file, "--task", "quadratic", "--json").json["learning_rate"] == 0.1


def test_a_task_of_ones_own(cli, write) -> None:
    task = write("my_task.py", MY_TASK)
    result = cli("train", "sgd", "--task", task, "--json")
    assert result.code == 0
    assert -0.1 < result.json["fitness"][0] <= 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n\nx / 0\n", "task.py:3: ZeroDivisionError: division by zero"),
        ("def (\n", "task.py:1: SyntaxError"),
        ("import no_such_module_anywhere\n", "ModuleNotFoundError"),
        ("raise SystemExit(0)\n", "task.py:1: SystemExit"),
        ("tusk = 1\n", "defines no `task`"),
        ("task = 1\n", "is of type `int`"),
    ],
)
def test_a_wrong_task_file_is_a_usage_error(cli, write, text: str, message: str) -> None:
    result = cli("train", "sgd", "--task", write("task.py", text), "--json")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_an_unknown_task_is_a_usage_error(cli, tmp_path) -> None:
    result = cli("train", "sgd", "--task", "quadratik")
    assert (result.code, result.out) == (2, "")
    assert "no task is called `quadratik`: did you mean `quadratic`" in result.err
    result = cli("train", "sgd", "--task", tmp_path / "missing.py")
    assert (result.code, result.out) == (2, "")
    assert "there is no file" in result.err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("momentun=1", "no hyperparameter `momentun`; did you mean `momentum`?"),
        ("zzz=1", "no hyperparameter `zzz`; it has momentum, scale"),
        ("lr=1", "no hyperparameter `lr`"),
        ("scale", "--set takes name=value, not `scale`"),
        ("scale=big", "--set scale: `big` is not a number"),
        ("scale=", "--set scale: `` is not a number"),
        ("scale=nan", "--set scale: `nan` is not finite"),
        ("scale=inf", "--set scale: `inf` is not finite"),
        ("scale=1e999", "--set scale: `1e999` is not finite"),
    ],
)
def test_a_wrong_setting_is_a_usage_error(cli, write, setting: str, message: str) -> None:
    result = cli("train", write("sgd.opt", SGD), "--task", "quadratic", "--set", setting)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_a_setting_given_twice_is_a_usage_error(cli, write) -> None:
    twice = ("--set", "scale=1", "--set", "scale=2")
    result = cli("train", write("sgd.opt", SGD), "--task", "quadratic", *twice)
    assert (result.code, result.out) == (2, "")
    assert "--set gives `scale` twice" in result.err


def test_a_program_without_hyperparameters_says_so(cli) -> None:
    result = cli("train", "sgd", "--task", "quadratic", "--set", "x=1")
    assert (result.code, result.out) == (2, "")
    assert "no hyperparameter `x`; it has none" in result.err


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "-inf", "fast"])
def test_a_wrong_learning_rate_is_a_usage_error(cli, rate: str) -> None:
    result = cli("train", "sgd", "--task", "quadratic", f"--lr={rate}")
    assert (result.code, result.out) == (2, "")
    assert "--lr" in result.err


def test_no_seeds_is_a_usage_error(cli) -> None:
    assert cli("train", "sgd", "--task", "quadratic", "--seeds", 0).code == 2


def test_a_program_with_errors(cli, write, tmp_path) -> None:
    broken = write("broken.opt", "def train(g):\n    return h\n")
    result = cli("train", broken, "--task", "quadratic", "--json")
    assert (result.code, result.out) == (1, "")
    assert "E101" in result.err
    result = cli("train", tmp_path / "missing.opt", "--task", "quadratic", "--json")
    assert (result.code, result.out) == (2, "")
    assert "E001" in result.err


def test_protected(cli, write) -> None:
    root = write("root.opt", "def train(g, lr):\n    return lr * sqrt(g) * sign(g)\n")
    assert cli("train", root, "--task", "quadratic", "--json").code == 1
    result = cli("train", root, "--task", "quadratic", "--protected", "--json")
    assert result.code == 0
    assert math.isfinite(result.json["fitness"][0])
