"""The table of tasks, and tasks from users' files."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import optdsl.tasks
from optdsl.tasks import TASKS, Task, TaskError, find_task, get_task, read_task
from optdsl.tasks.families import FAMILIES, Family, Rung, TaskEntry

MINE = """
import jax, numpy as np
import optdsl.tasks

x = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
y = (x.sum(axis=1) > 0).astype(np.int32)

def init(key):
    return {"kernel": 0.1 * jax.random.normal(key, (2, 2))}

def apply(weights, x):
    return x @ weights["kernel"]

task = optdsl.tasks.supervised(
    "mine", "which side of a line", init, apply, train=(x[:40], y[:40]),
    validation=(x[40:50], y[40:50]), test=(x[50:], y[50:]), batch_size=8, steps=20)
"""


def written(folder: Path, text: str, name: str = "my_task.py") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def message(path: Path | str) -> str:
    with pytest.raises(TaskError) as caught:
        find_task(path)
    return str(caught.value)


@pytest.mark.parametrize("entry", TASKS, ids=lambda entry: entry.name)
def test_every_task_keeps_the_contract(entry: optdsl.tasks.TaskEntry) -> None:
    task = get_task(entry.name)
    assert task is get_task(entry.name) is find_task(entry.name)
    assert (task.name, task.doc) == (entry.name, entry.doc)
    weights = jax.eval_shape(task.init, jax.random.key(0))
    plan = jax.eval_shape(task.plan, jax.random.key(1))
    assert all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(weights))
    assert all(len(leaf.shape) and leaf.shape[0] == task.steps for leaf in jax.tree.leaves(plan))
    step = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), plan)
    loss = jax.eval_shape(task.loss, weights, step)
    assert (loss.shape, loss.dtype) == ((), jnp.float32)
    slope = jax.eval_shape(jax.grad(task.loss), weights, step)
    assert jax.tree.structure(slope) == jax.tree.structure(weights)
    for part in ("validation", "test"):
        score = jax.eval_shape(lambda w, part=part: task.score(w, part), weights)
        assert (score.shape, score.dtype) == ((), jnp.float32)
    multipliers = task.schedule(jnp.linspace(0, task.steps - 1, 9))
    assert ((multipliers >= 0) & (multipliers <= 1)).all()


def test_names_are_unique_and_never_look_like_files() -> None:
    names = [entry.name for entry in TASKS]
    assert len(set(names)) == len(names)
    assert not any(name.endswith(".py") for name in names)


def test_get_task_raises_a_key_error() -> None:
    with pytest.raises(KeyError, match="no task is called `nonsense`; there are `digits_mlp`, "):
        get_task("nonsense")


def test_an_unknown_name_suggests_a_near_one() -> None:
    assert message("digit_mlp") == (
        "no task is called `digit_mlp`: did you mean `digits_mlp`, `digits_mlp@10x` or "
        + "`digits_mlp@100x`? there are "
        + ", ".join(f"`{family.name}`" for family in FAMILIES)
        + "; a file of your own ends in `.py`"
    )
    assert message("zzz").startswith("no task is called `zzz`; there are `digits_mlp`, ")


def test_an_unknown_size_lists_those_there_are() -> None:
    for size in ("20x", "10", ""):
        assert message(f"quadratic@{size}") == (
            f"task `quadratic` has no size `@{size}`; there are `quadratic`, `quadratic@10x`, "
            "`quadratic@100x`; a file of your own ends in `.py`"
        )
    assert "did you mean `digits_mlp@10x`" in message("digit_mlp@10x")


def test_the_first_size_has_two_names() -> None:
    assert find_task("quadratic@1x") is get_task("quadratic")
    assert read_task("quadratic@1x") == read_task("quadratic")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_grows_in_compute(family: Family) -> None:
    """Weights times steps times context: all that a family's sizes may change."""
    assert [rung.compute for rung in family.rungs] == [1, 10, 100]
    computes = [_compute(family, rung) for rung in family.rungs]
    for rung, compute in zip(family.rungs, computes, strict=True):
        assert compute / computes[0] == pytest.approx(rung.compute, rel=0.1)


def _compute(family: Family, rung: Rung) -> int:
    task = get_task(TaskEntry(family, rung).name)
    leaves = jax.tree.leaves(jax.eval_shape(task.init, jax.random.key(0)))
    return sum(leaf.size for leaf in leaves) * task.steps * rung.size.get("context", 1)


def test_a_file_gives_its_task(tmp_path: Path) -> None:
    file = written(tmp_path, MINE)
    task = find_task(str(file))
    assert isinstance(task, Task)
    assert (task.name, task.steps) == ("mine", 20)
    weights = task.init(jax.random.key(0))
    assert jnp.isfinite(task.loss(weights, task.plan(jax.random.key(1))[0]))
    assert find_task(file) is not task


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    written(tmp_path, MINE, "neighbour_of_a_task.py")
    file = written(tmp_path, "from neighbour_of_a_task import task\n")
    before = list(sys.path)
    try:
        assert find_task(file).name == "mine"
    finally:
        sys.modules.pop("neighbour_of_a_task", None)
    assert sys.path == before


def test_a_file_may_have_the_name_of_a_module(tmp_path: Path) -> None:
    assert find_task(written(tmp_path, MINE, "jax.py")).name == "mine"


def test_a_missing_file(tmp_path: Path) -> None:
    file = tmp_path / "my_task.py"
    assert message(file) == f"there is no file `{file}`"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "my_task.py"
    folder.mkdir()
    assert message(folder) == f"can't read `{folder}`: Is a directory"


def test_a_file_without_a_task(tmp_path: Path) -> None:
    file = written(tmp_path, "tsak = 1\n")
    assert message(file).startswith(f"`{file}` defines no `task`: end it with `task = ")


def test_a_task_of_the_wrong_type(tmp_path: Path) -> None:
    file = written(tmp_path, "def task(): pass\n")
    assert message(file) == (
        f"`task` in `{file}` is of type `function`; it must be an optdsl.tasks.Task"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n\n1 / 0\n", ":3: ZeroDivisionError: division by zero"),
        ("x = 1\ny = (\n", ":2: SyntaxError: '(' was never closed"),
        ("import json\n\njson.loads('')\n", ":3: JSONDecodeError: Expecting value: line 1"),
        ("import no_such_module\n", ":1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("open('/no/such/file')\n", ":1: FileNotFoundError: [Errno 2]"),
        ("def f():\n    assert 0\n\nf()\n", ":2: AssertionError"),
        ("raise SystemExit(3)\n", ":1: SystemExit: 3"),
        ("exec('1 +')\n", ":1: SyntaxError: invalid syntax"),
        (MINE.replace("steps=20", "steps=0"), ":14: ValueError: steps of task `mine` must be"),
    ],
)
def test_a_file_that_raises(tmp_path: Path, text: str, expected: str) -> None:
    file = written(tmp_path, text)
    assert message(file).startswith(f"{file}{expected}")


def test_an_error_inside_the_model_names_the_models_line(tmp_path: Path) -> None:
    file = written(tmp_path, MINE.replace('x @ weights["kernel"]', "x @ weights"))
    assert message(file).startswith(f"{file}:12: TypeError: ")


TASK = """
import jax, jax.numpy as jnp
import optdsl.tasks

SIZES = iter((2, 3))
task = optdsl.tasks.Task(
    "mine", "bad", 20, learning_rate=0.1,
    init=lambda key: {"x": jnp.ones(3)},
    plan=lambda key: jnp.zeros((20, 3)),
    loss=lambda weights, step: jnp.sum((weights["x"] - step) ** 2),
    score=lambda weights, part: -jnp.sum(weights["x"] ** 2),
)
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        (
            "jnp.ones(3)",
            "jnp.ones(next(SIZES))",
            6,
            "`init` of task `mine` must give the same tree",
        ),
        ("jnp.ones(3)", "jnp.ones(3, int)", 6, "`init` of task `mine` must give floating-point"),
        ('{"x": jnp.ones(3)}', "{}", 6, "`init` of task `mine` gives no weights"),
        ("jnp.zeros((20, 3))", "jnp.zeros((19, 3))", 6, "must have a row for each of the 20 steps"),
        ("jnp.zeros((20, 3))", "jnp.zeros((20, 4))", 10, "TypeError"),
        ("jnp.zeros((20, 3))", "jnp.full((20, 3), jnp.nan)", 6, "the loss of the first step of"),
        ("jnp.sum((w", "jnp.sqrt((w", 6, "`loss` of task `mine` must give one floating-point"),
        ("-jnp.sum(", "jnp.argmax(", 6, "`score` of task `mine` must give one floating-point"),
        ("-jnp.sum(weights", "jnp.log(-1.0) + jnp.sum(weights", 6, "the validation score of the"),
        ('-jnp.sum(weights["x"]', '-jnp.sum(weights["y"]', 11, "KeyError: 'y'"),
    ],
)
def test_a_task_that_cannot_be_trained(
    tmp_path: Path, old: str, new: str, line: int, expected: str
) -> None:
    assert old in TASK
    file = written(tmp_path, TASK.replace(old, new))
    found = message(file)
    assert found.startswith(f"{file}:{line}: ")
    assert expected in found
    assert "\n" not in found


def test_listing_tasks_loads_no_jax() -> None:
    code = (
        "import sys, optdsl.tasks as tasks; assert all(e.name and e.doc for e in tasks.TASKS);"
        "caught = False\n"
        "try: tasks.find_task('no_such_file.py')\n"
        "except tasks.TaskError: caught = True\n"
        "assert caught and not {'jax', 'numpy', 'optax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_the_package_exports_what_it_lists() -> None:
    for name in optdsl.tasks.__all__:
        assert getattr(optdsl.tasks, name) is not None
    with pytest.raises(AttributeError, match="no attribute `nonsense`"):
        optdsl.tasks.nonsense  # noqa: B018
