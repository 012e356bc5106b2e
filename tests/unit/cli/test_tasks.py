"""`optdsl tasks FILE`: a user's own task is checked and shown."""

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize("name", ["my_task.py", "my_nnx_task.py"])
def test_the_examples_are_tasks(cli, name: str) -> None:
    file = EXAMPLES / name
    (entry,) = cli("tasks", file, "--json").json
    assert entry["name"] == str(file)
    assert entry["size"] == {"steps": 200}
    shown = cli("tasks", file)
    assert (shown.code, shown.out) == (0, "")
    assert entry["doc"] in shown.err


def test_a_bad_task_is_a_usage_error(cli, write) -> None:
    file = write("mine.py", "import optdsl.tasks\n\ntask = optdsl.tasks.supervised('mine')\n")
    result = cli("tasks", file)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"optdsl: {file}:3: TypeError: supervised() missing")
    assert len(result.err.splitlines()) == 1
