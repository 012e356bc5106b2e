"""The scripts of examples/paper run, as small as they can be, and print what they are for."""

import runpy
import sys
from pathlib import Path

import pytest

PAPER = Path(__file__).parents[2] / "examples" / "paper"

SEARCH = ("--evaluator", "bytecode", "--workers", "0", "--population", "10", "--lag", "4",
          "--seeds", "1")  # fmt: skip

SCRIPTS = {
    "figure_2": ("--task quadratic --programs 45 --restarts 2", "redundant statements: "),
    "figure_3": ("--task quadratic --meta-task quadratic --programs 20 --searches 3", "##"),
    "appendix_d": (
        "--task quadratic --less quadratic --programs 20 --searches 1 --progress 1",
        "evolution-1  100%",
    ),
    "figure_8": ("--task quadratic --batch 1024", "9 steps, lion"),
    "section_3_2": (
        "--task digits_mlp --weights 10 --turns 1",
        "lion                           4.00",
    ),
    "table_7": ("--task quadratic --optimizers Lion AddSign --seeds 1", "paper 79.46 (rank 1)"),
    "table_10": ("--task quadratic --deviation 0.1", "deviation 0.1: L_train"),
}
"""By name: small options, and what must be printed."""


def test_every_script_is_run() -> None:
    helpers = {"searches", "tenth_task"}
    assert {path.stem for path in PAPER.glob("*.py")} == set(SCRIPTS) | helpers


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_prints_its_figure_beside_the_papers(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words, wanted = SCRIPTS[name]
    searches = name in ("figure_2", "figure_3", "appendix_d")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PAPER))
    monkeypatch.setattr(sys, "argv", [name, *words.split(), *(SEARCH if searches else ())])
    runpy.run_path(str(PAPER / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert wanted in printed
    assert "The paper" in printed
