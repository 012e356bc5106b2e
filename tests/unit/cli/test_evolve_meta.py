"""`optdsl evolve --meta-task`: what it prints and keeps, and what is refused."""

import shutil
from pathlib import Path

import pytest
from support.search import tables

from optdsl.cli import main
from optdsl.diagnostics import Source
from optdsl.evolve import run as run_module
from optdsl.evolve.config import LOOKS, read_config
from optdsl.evolve.judge import JudgeSpec, prepare_for
from optdsl.evolve.meta import META_SEEDS
from optdsl.frontend import load
from optdsl.passes.live import remove_dead_state
from optdsl.tasks.table import read_task

SHORT = ("evolve", "--task", "quadratic", "--programs", 20, "--population", 10, "--workers", 0,
         "--tune-first", 0, "--evaluator", "bytecode", "--json")  # fmt: skip
RESUME = ("evolve", "--workers", 0, "--json", "--resume")

TASK = """
from dataclasses import replace
from optdsl.tasks import get_task
task = replace(get_task("quadratic"), name="mine", steps={steps})
"""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a meta task in a file, and a run with it."""
    folder = tmp_path_factory.mktemp("watched")
    (folder / "meta.py").write_text(TASK.format(steps=10))
    options = ("--meta-task", folder / "meta.py", "--meta-every", 10, "--lag", 8)
    with pytest.raises(SystemExit) as exit_:
        main.main([str(arg) for arg in (*SHORT, *options, "--out", folder / "run")])
    assert exit_.value.code == 0
    return folder


def test_leaders_are_judged_on_the_meta_task(cli, watched: Path) -> None:
    file, folder = watched / "meta.py", watched / "run"
    config = read_config(folder)
    assert (config.meta_task, config.meta_every, config.meta_stop) == (str(file), 10, False)
    before = tables(folder)
    result = cli(*RESUME, folder, "--meta-task", file)
    assert tables(folder) == before
    assert f", its leaders judged on {file} too\n" in result.err
    assert f"leaders of evolution-1 on {file}: " in result.err
    points = result.json["meta"]
    assert {point["stage"] for point in points} == {"evolution-1"}
    assert points[0]["programs"] == 0
    assert result.json["meta_task"] == str(file)
    assert isinstance(result.json["meta_warnings"], list)
    prepare = prepare_for(JudgeSpec(read_task(file), config.meta_learning_rate, "bytecode"))
    start = remove_dead_state(load(Source("start", config.program)))
    scores = [validation for validation, _ in prepare(start)(META_SEEDS)]
    assert points[0]["meta_fitness"] == pytest.approx(sum(scores) / len(scores), rel=1e-6)
    report = cli("report", folder, "--json").json
    assert report["meta"] == points
    assert report["meta_warnings"] == result.json["meta_warnings"]


def test_a_meta_task_in_a_file_is_named_again(cli, watched: Path, tmp_path: Path) -> None:
    file, folder = watched / "meta.py", tmp_path / "run"
    shutil.copytree(watched / "run", folder)
    result = cli(*RESUME, folder)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        f"optdsl: the run's meta task is a file: name it again, with --meta-task {file}\n"
    )
    changed = tmp_path / "changed.py"
    changed.write_text(TASK.format(steps=11))
    for wrong in (changed, "quadratic"):
        result = cli(*RESUME, folder, "--meta-task", wrong)
        assert (result.code, result.out) == (2, "")
        assert result.err == (
            f"optdsl: the meta task {wrong} is not the one that {folder} was begun with\n"
        )


def test_the_defaults(cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A built-in task, and twenty looks, but not more often than programs are under way."""

    def begins(self: run_module.Run) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module.Run, "run", begins)
    for programs, every in ((20, 64), (4000, 4000 // LOOKS)):
        folder = tmp_path / str(programs)
        result = cli(*SHORT, "--programs", programs, "--meta-task", "quadratic", "--meta-stop",
                     "--out", folder)  # fmt: skip
        assert result.code == 130
        config = read_config(folder)
        assert (config.meta_every, config.meta_stop) == (every, True)
        assert config.meta_learning_rate == config.learning_rate
        assert f"go on with: optdsl evolve --resume {folder}\n" in result.err
    plain = tmp_path / "plain"
    cli(*SHORT, "--out", plain)
    config = read_config(plain)
    assert (config.meta_task, config.meta_task_digest, config.meta_every) == ("", "", 0)
    result = cli(*RESUME, plain, "--meta-task", "quadratic")
    assert (result.code, result.err) == (2, f"optdsl: {plain} was begun without a meta task\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--meta-task", "quadratik"), "did you mean `quadratic`"),
        (("--meta-task", "nowhere.py"), "there is no file `nowhere.py`"),
        (("--meta-task", "quadratic", "--meta-every", 0), "--meta-every"),
        (("--meta-every", 10), "--meta-every needs --meta-task"),
        (("--meta-stop",), "--meta-stop needs --meta-task"),
    ],
)
def test_wrong_options_are_usage_errors_and_leave_no_folder(
    cli, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    result = cli(*SHORT, *options, "--out", tmp_path / "run")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "run").exists()


def test_a_meta_task_that_can_not_be_trained(cli, tmp_path: Path) -> None:
    """Its functions raise, which no loading of its file shows."""
    file = tmp_path / "broken.py"
    fails = "\ndef fails(*_):\n    raise ValueError('no batch')\n"
    file.write_text(TASK.format(steps=10) + fails + "task = replace(task, loss=fails)\n")
    result = cli(*SHORT, "--meta-task", file, "--out", tmp_path / "run")
    assert (result.code, result.out) == (2, "")
    assert "ValueError: no batch" in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "run").exists()
